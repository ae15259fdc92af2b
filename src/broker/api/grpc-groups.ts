/** The gRPC service of groups. */
import type { handleUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { REQUEST_BYTES_MAX } from '../../limits.js';
import { callFailure } from '../../wire/grpc/status-details.js';
import {
  commitRequestCodec,
  commitResponseCodec,
  deleteGroupRequestCodec,
  deleteGroupResponseCodec,
  emptyCodec,
  getGroupRequestCodec,
  getGroupResponseCodec,
  listGroupsResponseCodec,
  resetGroupRequestCodec,
  resetGroupResponseCodec,
  setGroupFilterRequestCodec,
  setGroupFilterResponseCodec,
} from '../../wire/messages.js';
import type { MessageCodec } from '../../wire/schema.js';
import { callerOf } from '../access/caller.js';
import type { Caller } from '../access/gate.js';
import type { GroupService } from '../groups/group-service.js';
import { inProtoNames } from './proto-names.js';

/** Commits of 64 slices with cursors of 4 KiB each. */
const COMMIT_BYTES_MAX = 4 * REQUEST_BYTES_MAX;

export function groupHandlers(groups: GroupService): UntypedServiceImplementation {
  return {
    ListGroups: unary(emptyCodec, listGroupsResponseCodec, (_request, caller) => groups.list(caller)),
    GetGroup: unary(getGroupRequestCodec, getGroupResponseCodec, ({ group }, caller) => groups.show(group, caller)),
    DeleteGroup: unary(deleteGroupRequestCodec, deleteGroupResponseCodec, async ({ group }, caller) => {
      await groups.delete(group, caller);
      return {};
    }),
    Commit: unary(commitRequestCodec, commitResponseCodec, async (request, caller) => {
      await groups.commit(request, caller);
      return {};
    }),
    ResetGroup: unary(resetGroupRequestCodec, resetGroupResponseCodec, (request, caller) => {
      return groups.reset(request, caller);
    }),
    SetGroupFilter: unary(setGroupFilterRequestCodec, setGroupFilterResponseCodec, (request, caller) => {
      return groups.setFilter(request, caller);
    }),
  };
}

function unary<Request, Response extends object>(
  request: MessageCodec<object, Request>,
  response: MessageCodec<Response, unknown>,
  answer: (request: Request, caller: Caller) => Response | Promise<Response>,
): handleUnaryCall<Buffer, Buffer> {
  return async (call, respond) => {
    try {
      const caller = callerOf(call);
      respond(null, response.encode(await answer(request.decode(call.request, COMMIT_BYTES_MAX), caller)));
    } catch (cause) {
      respond(callFailure(inProtoNames(cause)));
    }
  };
}
