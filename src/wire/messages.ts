/**
 * Messages in their wire form: the generated types, the codecs of those that the broker encodes and decodes itself, and
 * conversions of times and positions between the wire's objects (decimal strings) and ours (bigint nanoseconds).
 */
import { BackplaneError } from '../errors.js';
import type { CommitRequest__Output } from './gen/backplane/v1/CommitRequest.js';
import type { ControlRequest__Output } from './gen/backplane/v1/ControlRequest.js';
import type { ControlResponse, ControlResponse__Output } from './gen/backplane/v1/ControlResponse.js';
import type { CreateJoinTokenRequest__Output } from './gen/backplane/v1/CreateJoinTokenRequest.js';
import type { CreateJoinTokenResponse } from './gen/backplane/v1/CreateJoinTokenResponse.js';
import type { DeleteGroupRequest__Output } from './gen/backplane/v1/DeleteGroupRequest.js';
import type { Event__Output } from './gen/backplane/v1/Event.js';
import type { EventBatch__Output } from './gen/backplane/v1/EventBatch.js';
import type { ExplainRequest__Output } from './gen/backplane/v1/ExplainRequest.js';
import type { ExplainResponse } from './gen/backplane/v1/ExplainResponse.js';
import type { ForgetNodesRequest__Output } from './gen/backplane/v1/ForgetNodesRequest.js';
import type { ForgetNodesResponse } from './gen/backplane/v1/ForgetNodesResponse.js';
import type { GetGroupRequest__Output } from './gen/backplane/v1/GetGroupRequest.js';
import type { GetGroupResponse } from './gen/backplane/v1/GetGroupResponse.js';
import type { GetStatusResponse } from './gen/backplane/v1/GetStatusResponse.js';
import type { HistogramRequest__Output } from './gen/backplane/v1/HistogramRequest.js';
import type { HistogramResponse } from './gen/backplane/v1/HistogramResponse.js';
import type { HistoryEnd, HistoryEnd__Output } from './gen/backplane/v1/HistoryEnd.js';
import type { JoinRequest__Output } from './gen/backplane/v1/JoinRequest.js';
import type { JoinResponse } from './gen/backplane/v1/JoinResponse.js';
import type { ListBudgetsResponse } from './gen/backplane/v1/ListBudgetsResponse.js';
import type { ListFieldsResponse } from './gen/backplane/v1/ListFieldsResponse.js';
import type { ListGroupsRequest__Output } from './gen/backplane/v1/ListGroupsRequest.js';
import type { ListGroupsResponse } from './gen/backplane/v1/ListGroupsResponse.js';
import type { ListNodesRequest__Output } from './gen/backplane/v1/ListNodesRequest.js';
import type { ListNodesResponse } from './gen/backplane/v1/ListNodesResponse.js';
import type { ListSubscriptionsRequest__Output } from './gen/backplane/v1/ListSubscriptionsRequest.js';
import type { ListSubscriptionsResponse } from './gen/backplane/v1/ListSubscriptionsResponse.js';
import type { ListTopicsResponse } from './gen/backplane/v1/ListTopicsResponse.js';
import type { Position__Output } from './gen/backplane/v1/Position.js';
import type { PublishResponse, PublishResponse__Output } from './gen/backplane/v1/PublishResponse.js';
import type { RenewRequest__Output } from './gen/backplane/v1/RenewRequest.js';
import type { RenewResponse } from './gen/backplane/v1/RenewResponse.js';
import type { ResetGroupRequest__Output } from './gen/backplane/v1/ResetGroupRequest.js';
import type { ResetGroupResponse } from './gen/backplane/v1/ResetGroupResponse.js';
import type { RetireRequest__Output } from './gen/backplane/v1/RetireRequest.js';
import type { RetireResponse } from './gen/backplane/v1/RetireResponse.js';
import type { SetBudgetRequest__Output } from './gen/backplane/v1/SetBudgetRequest.js';
import type { SetBudgetResponse } from './gen/backplane/v1/SetBudgetResponse.js';
import type { SetGroupFilterRequest__Output } from './gen/backplane/v1/SetGroupFilterRequest.js';
import type { SetGroupFilterResponse } from './gen/backplane/v1/SetGroupFilterResponse.js';
import type { SubscribeRequest__Output } from './gen/backplane/v1/SubscribeRequest.js';
import type { SubscribeResponse, SubscribeResponse__Output } from './gen/backplane/v1/SubscribeResponse.js';
import type { Timestamp__Output } from './gen/google/protobuf/Timestamp.js';
import type { Position } from './position.js';
import { messageCodec } from './schema.js';

export type { Accepted__Output as Accepted } from './gen/backplane/v1/Accepted.js';
export type { BackplaneClient } from './gen/backplane/v1/Backplane.js';
export type { Budget, Budget__Output } from './gen/backplane/v1/Budget.js';
export type { BudgetChange__Output } from './gen/backplane/v1/BudgetChange.js';
export type { CommitRequest, CommitRequest__Output } from './gen/backplane/v1/CommitRequest.js';
export type { ControlRequest, ControlRequest__Output } from './gen/backplane/v1/ControlRequest.js';
export type { ControlResponse, ControlResponse__Output } from './gen/backplane/v1/ControlResponse.js';
export type { Coverage__Output as Coverage } from './gen/backplane/v1/Coverage.js';
export type { CreateJoinTokenResponse__Output } from './gen/backplane/v1/CreateJoinTokenResponse.js';
export type { Event__Output as EventMessage } from './gen/backplane/v1/Event.js';
export type { EventBatch__Output as EventBatchMessage } from './gen/backplane/v1/EventBatch.js';
export type { ExplainRequest__Output } from './gen/backplane/v1/ExplainRequest.js';
export type { ExplainResponse, ExplainResponse__Output } from './gen/backplane/v1/ExplainResponse.js';
export type { ForgetNodesResponse__Output } from './gen/backplane/v1/ForgetNodesResponse.js';
export type { Gap__Output } from './gen/backplane/v1/Gap.js';
export type { GetGroupResponse, GetGroupResponse__Output } from './gen/backplane/v1/GetGroupResponse.js';
export type { GetStatusResponse, GetStatusResponse__Output } from './gen/backplane/v1/GetStatusResponse.js';
export type { Group } from './gen/backplane/v1/Group.js';
export type { GroupEvent__Output as GroupEvent } from './gen/backplane/v1/GroupEvent.js';
export type { GroupsClient } from './gen/backplane/v1/Groups.js';
export type { Hello, Hello__Output } from './gen/backplane/v1/Hello.js';
export type { HistogramRequest__Output } from './gen/backplane/v1/HistogramRequest.js';
export type { HistogramResponse } from './gen/backplane/v1/HistogramResponse.js';
export type { HistoryEnd, HistoryEnd__Output } from './gen/backplane/v1/HistoryEnd.js';
export type { HistoryQuery, HistoryQuery__Output } from './gen/backplane/v1/HistoryQuery.js';
export type { Interest__Output } from './gen/backplane/v1/Interest.js';
export type { InterestChange__Output } from './gen/backplane/v1/InterestChange.js';
export type { JoinClient } from './gen/backplane/v1/Join.js';
export type { JoinResponse__Output } from './gen/backplane/v1/JoinResponse.js';
export type { Lease__Output } from './gen/backplane/v1/Lease.js';
export type { ListBudgetsResponse } from './gen/backplane/v1/ListBudgetsResponse.js';
export type { ListFieldsResponse } from './gen/backplane/v1/ListFieldsResponse.js';
export type { ListGroupsResponse, ListGroupsResponse__Output } from './gen/backplane/v1/ListGroupsResponse.js';
export type { ListNodesResponse, ListNodesResponse__Output } from './gen/backplane/v1/ListNodesResponse.js';
export type {
  ListSubscriptionsResponse,
  ListSubscriptionsResponse__Output,
} from './gen/backplane/v1/ListSubscriptionsResponse.js';
export type { ListTopicsResponse, ListTopicsResponse__Output } from './gen/backplane/v1/ListTopicsResponse.js';
export type { Loss } from './gen/backplane/v1/Loss.js';
export type { Node } from './gen/backplane/v1/Node.js';
export type { NodeCoverage } from './gen/backplane/v1/NodeCoverage.js';
export type { NodeReport, NodeReport__Output } from './gen/backplane/v1/NodeReport.js';
export type { Plan } from './gen/backplane/v1/Plan.js';
export type { PlanStage } from './gen/backplane/v1/PlanStage.js';
export type { PublishedEvent } from './gen/backplane/v1/PublishedEvent.js';
export type { PublisherClient } from './gen/backplane/v1/Publisher.js';
export type { PublishRequest } from './gen/backplane/v1/PublishRequest.js';
export type { PublishResponse, PublishResponse__Output } from './gen/backplane/v1/PublishResponse.js';
export type { RecordingBegin__Output as RecordingBegin } from './gen/backplane/v1/RecordingBegin.js';
export type { ResetGroupRequest__Output } from './gen/backplane/v1/ResetGroupRequest.js';
export type { ResetGroupResponse, ResetGroupResponse__Output } from './gen/backplane/v1/ResetGroupResponse.js';
export type { RetireResponse, RetireResponse__Output } from './gen/backplane/v1/RetireResponse.js';
export type { SetBudgetRequest, SetBudgetRequest__Output } from './gen/backplane/v1/SetBudgetRequest.js';
export type { SetBudgetResponse, SetBudgetResponse__Output } from './gen/backplane/v1/SetBudgetResponse.js';
export type { SetGroupFilterRequest, SetGroupFilterRequest__Output } from './gen/backplane/v1/SetGroupFilterRequest.js';
export type {
  SetGroupFilterResponse,
  SetGroupFilterResponse__Output,
} from './gen/backplane/v1/SetGroupFilterResponse.js';
export type { SubscribeRequest, SubscribeRequest__Output } from './gen/backplane/v1/SubscribeRequest.js';
export type { SubscribeResponse, SubscribeResponse__Output } from './gen/backplane/v1/SubscribeResponse.js';
export type { Topic } from './gen/backplane/v1/Topic.js';
export type { TopicAck__Output } from './gen/backplane/v1/TopicAck.js';
export type { Welcome__Output } from './gen/backplane/v1/Welcome.js';
export type { Value__Output as ValueMessage } from './gen/google/protobuf/Value.js';

type Empty = Record<string, never>;

export const controlRequestCodec = messageCodec<object, ControlRequest__Output>('ControlRequest');
export const controlResponseCodec = messageCodec<ControlResponse, ControlResponse__Output>('ControlResponse');
export const historyEndCodec = messageCodec<HistoryEnd, HistoryEnd__Output>('HistoryEnd');
export const subscribeRequestCodec = messageCodec<object, SubscribeRequest__Output>('SubscribeRequest');
export const subscribeResponseCodec = messageCodec<SubscribeResponse, SubscribeResponse__Output>('SubscribeResponse');
export const eventCodec = messageCodec<object, Event__Output>('Event');
export const eventBatchCodec = messageCodec<object, EventBatch__Output>('EventBatch');
export const explainRequestCodec = messageCodec<object, ExplainRequest__Output>('ExplainRequest');
export const explainResponseCodec = messageCodec<ExplainResponse, unknown>('ExplainResponse');
export const listNodesRequestCodec = messageCodec<object, ListNodesRequest__Output>('ListNodesRequest');
export const listNodesResponseCodec = messageCodec<ListNodesResponse, unknown>('ListNodesResponse');
export const listTopicsResponseCodec = messageCodec<ListTopicsResponse, unknown>('ListTopicsResponse');
export const listSubscriptionsRequestCodec = messageCodec<object, ListSubscriptionsRequest__Output>(
  'ListSubscriptionsRequest',
);
export const listSubscriptionsResponseCodec = messageCodec<ListSubscriptionsResponse, unknown>(
  'ListSubscriptionsResponse',
);
export const getStatusResponseCodec = messageCodec<GetStatusResponse, unknown>('GetStatusResponse');
export const setBudgetRequestCodec = messageCodec<object, SetBudgetRequest__Output>('SetBudgetRequest');
export const setBudgetResponseCodec = messageCodec<SetBudgetResponse, unknown>('SetBudgetResponse');
export const forgetNodesRequestCodec = messageCodec<object, ForgetNodesRequest__Output>('ForgetNodesRequest');
export const forgetNodesResponseCodec = messageCodec<ForgetNodesResponse, unknown>('ForgetNodesResponse');
export const histogramRequestCodec = messageCodec<object, HistogramRequest__Output>('HistogramRequest');
export const histogramResponseCodec = messageCodec<HistogramResponse, unknown>('HistogramResponse');
export const listBudgetsResponseCodec = messageCodec<ListBudgetsResponse, unknown>('ListBudgetsResponse');
export const listFieldsResponseCodec = messageCodec<ListFieldsResponse, unknown>('ListFieldsResponse');
export const publishResponseCodec = messageCodec<PublishResponse, PublishResponse__Output>('PublishResponse');
export const listGroupsRequestCodec = messageCodec<object, ListGroupsRequest__Output>('ListGroupsRequest');
export const listGroupsResponseCodec = messageCodec<ListGroupsResponse, unknown>('ListGroupsResponse');
export const getGroupRequestCodec = messageCodec<object, GetGroupRequest__Output>('GetGroupRequest');
export const getGroupResponseCodec = messageCodec<GetGroupResponse, unknown>('GetGroupResponse');
export const deleteGroupRequestCodec = messageCodec<object, DeleteGroupRequest__Output>('DeleteGroupRequest');
export const deleteGroupResponseCodec = messageCodec<Empty, unknown>('DeleteGroupResponse');
export const commitRequestCodec = messageCodec<object, CommitRequest__Output>('CommitRequest');
export const commitResponseCodec = messageCodec<Empty, unknown>('CommitResponse');
export const resetGroupRequestCodec = messageCodec<object, ResetGroupRequest__Output>('ResetGroupRequest');
export const resetGroupResponseCodec = messageCodec<ResetGroupResponse, unknown>('ResetGroupResponse');
export const retireRequestCodec = messageCodec<object, RetireRequest__Output>('RetireRequest');
export const retireResponseCodec = messageCodec<RetireResponse, unknown>('RetireResponse');
export const setGroupFilterRequestCodec = messageCodec<object, SetGroupFilterRequest__Output>('SetGroupFilterRequest');
export const setGroupFilterResponseCodec = messageCodec<SetGroupFilterResponse, unknown>('SetGroupFilterResponse');
export const joinRequestCodec = messageCodec<object, JoinRequest__Output>('JoinRequest');
export const joinResponseCodec = messageCodec<JoinResponse, unknown>('JoinResponse');
export const renewRequestCodec = messageCodec<object, RenewRequest__Output>('RenewRequest');
export const renewResponseCodec = messageCodec<RenewResponse, unknown>('RenewResponse');
export const createJoinTokenRequestCodec = messageCodec<object, CreateJoinTokenRequest__Output>(
  'CreateJoinTokenRequest',
);
export const createJoinTokenResponseCodec = messageCodec<CreateJoinTokenResponse, unknown>('CreateJoinTokenResponse');
export const emptyCodec = messageCodec<Empty, Empty>('LiveResponse');

const NS_PER_S = 1_000_000_000n;
/** 9999-12-31T23:59:59Z, the last second a Timestamp may name. */
const SECONDS_MAX = 253_402_300_799n;
export const WALL_NS_MAX = SECONDS_MAX * NS_PER_S;

export interface TimestampFields {
  readonly seconds: string;
  readonly nanos: number;
}

/** Wall nanoseconds since 1970. Throws invalid_argument outside 1970 to 9999. */
export function timestampToNs(field: string, timestamp: Timestamp__Output): bigint {
  const seconds = BigInt(timestamp.seconds);
  const { nanos } = timestamp;
  if (seconds < 0n || seconds > SECONDS_MAX || nanos < 0 || nanos > 999_999_999) {
    throw new BackplaneError(
      'invalid_argument',
      `${field} must be a time from 1970 to 9999, got ${seconds} s and ${nanos} ns`,
    );
  }
  return seconds * NS_PER_S + BigInt(nanos);
}

export function nsToTimestamp(wallNs: bigint): TimestampFields {
  return { seconds: (wallNs / NS_PER_S).toString(), nanos: Number(wallNs % NS_PER_S) };
}

/** Throws invalid_argument when the epoch exceeds 2^53 or the lane 65535. */
export function positionFromMessage(field: string, position: Position__Output): Position {
  const epoch = Number(position.epoch);
  if (!Number.isSafeInteger(epoch)) {
    throw new BackplaneError('invalid_argument', `${field}.epoch must be below 2^53, got ${position.epoch}`);
  }
  if (position.lane > 0xffff) {
    throw new BackplaneError('invalid_argument', `${field}.lane must be at most 65535, got ${position.lane}`);
  }
  return { epoch, timeNs: BigInt(position.timeNs), lane: position.lane, tie: position.tie };
}

export interface PositionFields {
  readonly epoch: string;
  readonly timeNs: string;
  readonly lane: number;
  readonly tie: number;
}

export function positionToMessage(p: Position): PositionFields {
  return { epoch: String(p.epoch), timeNs: p.timeNs.toString(), lane: p.lane, tie: p.tie };
}
