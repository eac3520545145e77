#!/usr/bin/env bash
# Sees to it that there is a Java that Spark runs on (17 or newer), for the tests of batch scoring on Spark. Installs
# Debian's where that is possible, else says what to do; everything but Spark works without it.
set -euo pipefail

oldest=17

new_enough() {
  local java=java version
  [[ -n ${JAVA_HOME:-} ]] && java=$JAVA_HOME/bin/java
  command -v "$java" >/dev/null || return 1
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\(1\.\)\?\([0-9]\+\).*/\2/p')
  [[ -n $version && $version -ge $oldest ]]
}

# Debian 12 has 17, newer ones have more.
install_java() {
  local sudo=()
  [[ $EUID -eq 0 ]] || sudo=(sudo -n)
  command -v apt-get >/dev/null || return 1
  echo "Installing Debian's default-jre-headless …"
  "${sudo[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq default-jre-headless >/dev/null
}

new_enough && exit 0
install_java 2>/dev/null || true
new_enough || echo "There is no Java $oldest or newer, so the tests on Spark are skipped: apt-get install default-jre-headless" >&2
