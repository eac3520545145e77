#!/bin/sh
# Becomes Alertmanager. Natively its templates are found through descriptor 9 (install.sh says why); an image needs none.
templates=$(dirname "$(command -v alertmanager)")/../root/usr/share/prometheus/alertmanager
if [ -d "$templates" ]; then exec 9<"$templates"; fi
exec alertmanager "$@"
