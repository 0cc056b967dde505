#!/bin/sh
# What the services need before they start; run by `setup` in compose.yaml. Run again, it keeps what is there.
#
#   /broker       set-up of Mosquitto, as `disc-stream broker config` writes it
#   /credentials  what the server needs of it, and the token of its page
#   /grafana      Grafana's first password
#   /models       registry of models, empty at first
#
# The folders can be others, for tests: setup.sh BROKER CREDENTIALS GRAFANA MODELS
set -eu
broker=${1:-/broker} credentials=${2:-/credentials} grafana=${3:-/grafana} models=${4:-/models}
umask 077

new_token() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# The first name goes into the addresses that devices are given; the server uses the second one.
disc-stream broker config --out "$broker" --host "${DISC_STREAM_HOST:-localhost}" --host mosquitto --host 127.0.0.1 \
    --port "${DISC_STREAM_PORT:-8883}" --user "$(id -un)" --force >/dev/null

sed -n 's/^DISC_STREAM_BROKER_PASSWORD=//p' "$broker/roles/server.env" >"$credentials/.password"
mv "$credentials/.password" "$credentials/broker-password"
cp "$broker/ca.crt" "$credentials/ca.crt"
[ -s "$credentials/page-token" ] || new_token >"$credentials/page-token"

if [ ! -s "$grafana/admin-password" ]; then
    new_token >"$grafana/admin-password"
fi
chmod 755 "$grafana"
chmod 644 "$grafana/admin-password" # Grafana has a user of its own; nobody else mounts this volume

[ -e "$models/registry.json" ] || [ -n "$(ls -A "$models")" ] || disc-stream models init --models "$models" >/dev/null
echo "set up: devices connect to ${DISC_STREAM_HOST:-localhost}:${DISC_STREAM_PORT:-8883}"
