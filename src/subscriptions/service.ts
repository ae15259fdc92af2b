/** The Backplane service as a client sees it: the stub for one broker's address, and the messages' types. */
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { BackplaneClient } from '../wire/gen/backplane/v1/Backplane.js';
import type { ProtoGrpcType } from '../wire/gen/subscription.js';

export type { BackplaneClient } from '../wire/gen/backplane/v1/Backplane.js';
export type { Accepted__Output as Accepted } from '../wire/gen/backplane/v1/Accepted.js';
export type { Coverage__Output as Coverage } from '../wire/gen/backplane/v1/Coverage.js';
export type { Event__Output as WireEvent } from '../wire/gen/backplane/v1/Event.js';
export type { EventBatch__Output as EventBatch } from '../wire/gen/backplane/v1/EventBatch.js';
export type { ExplainResponse__Output as ExplainResponse } from '../wire/gen/backplane/v1/ExplainResponse.js';
export type { Gap__Output as Gap } from '../wire/gen/backplane/v1/Gap.js';
export type { GetStatusResponse__Output as GetStatusResponse } from '../wire/gen/backplane/v1/GetStatusResponse.js';
export type { ListNodesResponse__Output as ListNodesResponse } from '../wire/gen/backplane/v1/ListNodesResponse.js';
export type { ListSubscriptionsResponse__Output as ListSubscriptionsResponse } from '../wire/gen/backplane/v1/ListSubscriptionsResponse.js';
export type { ListTopicsResponse__Output as ListTopicsResponse } from '../wire/gen/backplane/v1/ListTopicsResponse.js';
export type { NodeStatus__Output as NodeStatus } from '../wire/gen/backplane/v1/NodeStatus.js';
export type { SubscribeRequest } from '../wire/gen/backplane/v1/SubscribeRequest.js';
export type { SubscribeResponse__Output as SubscribeResponse } from '../wire/gen/backplane/v1/SubscribeResponse.js';
export type { Watermark__Output as Watermark } from '../wire/gen/backplane/v1/Watermark.js';
export type { Timestamp__Output as Timestamp } from '../wire/gen/google/protobuf/Timestamp.js';

const PROTO_DIR = fileURLToPath(new URL('../../../proto', import.meta.url));

export function openService(address: string): BackplaneClient {
  const definition = loadSync('backplane/v1/subscription.proto', {
    includeDirs: [PROTO_DIR],
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const { backplane } = loadPackageDefinition(definition) as unknown as ProtoGrpcType;
  return new backplane.v1.Backplane(address, credentials.createInsecure());
}
