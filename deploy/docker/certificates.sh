#!/bin/sh
# What docker-compose.yml runs before all else: certificates.sh DIRECTORY. Makes an authority, once, and for each service a
# folder with a new certificate (own.crt, own.key) and the authority's (ca.crt), which its user alone can read.
set -eu
umask 077
cd "$1"
[ -e authority/ca.key ] || backplane certs init --dir authority --name broker
# Of its own, so that no certificate of a node opens the servers of NATS.
mkdir -p authority/nats
[ -e authority/nats/ca.key ] || backplane certs init --dir authority/nats --name nats

# give AUTHORITY FOLDER USER NAME FLAG...: a certificate for NAME to a service that runs as USER
give() {
  authority=$1 folder=$2 user=$3 name=$4
  shift 4
  backplane certs issue "$name" --dir "$authority" --force "$@"
  mkdir -p "$folder"
  chown "$user" "$folder"
  put ca.crt ca.crt
  # Who reads the two in between finds that they do not go together, and reads them again.
  put "$name.key" own.key
  put "$name.crt" own.crt
}

put() {
  cp "$authority/$1" "$folder/$2.new"
  chown "$user" "$folder/$2.new"
  mv "$folder/$2.new" "$folder/$2"
}

give authority broker 1000 broker --for broker --name broker-1 --name broker-2
give authority/nats nats 1000 nats --for nats --name nats-1 --name nats-2 --name nats-3
# What brokers show them.
give authority/nats broker/nats 1000 broker
for folder in nats-*-data; do chown 1000 "$folder"; done
give authority agent 0 "$NODE_NAME" --for node
give authority prometheus 65534 prometheus --for broker --name prometheus
give authority grafana 472 grafana --for broker --name grafana
give authority grafana/client 472 grafana-client
if [ ! -e grafana/password ]; then
  head -c 18 /dev/urandom | base64 > grafana/password
  chown 472 grafana/password
fi
