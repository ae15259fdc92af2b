#!/usr/bin/python3
"""Reads events without generated code: the messages come from the broker's /descriptors.binpb.

Needs Debian's python3-grpcio. Prints the services, then N events as JSON, one a line, and at last the
cursor that resumes behind them, on stderr.

  BACKPLANE_TOKEN=$(cat data/token) ./feed_by_descriptors.py [N [CURSOR]]
"""
import json
import os
import sys
import urllib.request

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

BROKER = os.environ.get("BACKPLANE_BROKERS", "127.0.0.1:8484").split(",")[0]
HTTP = os.environ.get("BACKPLANE_HTTP", "http://127.0.0.1:8485")
METADATA = [("authorization", "Bearer " + os.environ.get("BACKPLANE_TOKEN", ""))]

with urllib.request.urlopen(HTTP + "/descriptors.binpb") as answer:
    files = descriptor_pb2.FileDescriptorSet.FromString(answer.read())
pool = descriptor_pool.DescriptorPool()
for file in files.file:
    pool.AddSerializedFile(file.SerializeToString())


def message(name):
    """The class of a message."""
    descriptor = pool.FindMessageTypeByName("backplane.v1." + name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


for file in files.file:
    for service in file.service:
        print("service", file.package + "." + service.name, file=sys.stderr)

limit = int(sys.argv[1]) if len(sys.argv) > 1 else 10
cursor = sys.argv[2] if len(sys.argv) > 2 else ""
request = message("SubscribeRequest")(topics=["process"], limit=limit, cursor=cursor, since="" if cursor else "1h")

# A dead connection is noticed by pings.
options = [("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000)]
with grpc.insecure_channel(BROKER, options) as channel:
    subscribe = channel.unary_stream(
        "/backplane.v1.Backplane/Subscribe",
        request_serializer=lambda each: each.SerializeToString(),
        response_deserializer=message("SubscribeResponse").FromString,
    )
    for response in subscribe(request, metadata=METADATA):
        kind = response.WhichOneof("item")
        if kind == "events":
            batch = response.events
            for event in batch.events:
                print(json.dumps({"node": batch.node, **json_format.MessageToDict(event)}))
            cursor = batch.cursor or cursor
        elif kind == "gap":
            print("missing:", response.gap.reason, response.gap.events, file=sys.stderr)
print("cursor", cursor, file=sys.stderr)
