#!/usr/bin/python3
"""Reads events by generated stubs. Needs Debian's python3-grpcio, protobuf-compiler-grpc and libprotobuf-dev:

  protoc -I proto --python_out=. --grpc_out=. --plugin=protoc-gen-grpc=$(which grpc_python_plugin) \\
      proto/backplane/v1/*.proto
  PYTHONPATH=. BACKPLANE_TOKEN=$(cat data/token) examples/python/feed_by_stubs.py [N [CURSOR]]

(python3-grpc-tools of Debian 12 does not know `optional`, which the protos use.)
"""
import os
import sys

import grpc
from google.protobuf import json_format

from backplane.v1 import subscription_pb2, subscription_pb2_grpc

BROKER = os.environ.get("BACKPLANE_BROKERS", "127.0.0.1:8484").split(",")[0]
METADATA = [("authorization", "Bearer " + os.environ.get("BACKPLANE_TOKEN", ""))]

for service in subscription_pb2.DESCRIPTOR.services_by_name.values():
    print("service", service.full_name, file=sys.stderr)

limit = int(sys.argv[1]) if len(sys.argv) > 1 else 10
cursor = sys.argv[2] if len(sys.argv) > 2 else ""
with grpc.insecure_channel(BROKER, [("grpc.keepalive_time_ms", 30_000)]) as channel:
    backplane = subscription_pb2_grpc.BackplaneStub(channel)
    for node in backplane.ListNodes(subscription_pb2.ListNodesRequest(), metadata=METADATA).nodes:
        print("node", node.name, file=sys.stderr)
    request = subscription_pb2.SubscribeRequest(
        topics=["process"], limit=limit, cursor=cursor, since="" if cursor else "1h"
    )
    for response in backplane.Subscribe(request, metadata=METADATA):
        if response.WhichOneof("item") == "events":
            for event in response.events.events:
                print(json_format.MessageToJson(event, indent=None))
            cursor = response.events.cursor or cursor
print("cursor", cursor, file=sys.stderr)
