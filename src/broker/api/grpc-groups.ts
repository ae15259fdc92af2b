/** The gRPC service of groups. */
import type { handleUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { asBackplaneError } from '../../errors.js';
import { REQUEST_BYTES_MAX } from '../../limits.js';
import { callFailure } from '../../wire/grpc/status-details.js';
import type { AccessControl } from '../access/access-control.js';
import { callerOf } from '../access/caller.js';
import type { GroupService } from '../groups/group-service.js';
import { type GroupCall, groupCalls } from './group-calls.js';

/** Commits of 64 slices with cursors of 4 KiB each. */
const COMMIT_BYTES_MAX = 4 * REQUEST_BYTES_MAX;

export function groupHandlers(groups: GroupService, access: AccessControl): UntypedServiceImplementation {
  const calls = groupCalls(groups);
  const unary = answering(access);
  return {
    ListGroups: unary(calls.ListGroups),
    GetGroup: unary(calls.GetGroup),
    DeleteGroup: unary(calls.DeleteGroup),
    Commit: unary(calls.Commit),
    ResetGroup: unary(calls.ResetGroup),
    SetGroupFilter: unary(calls.SetGroupFilter),
  };
}

/** Who has not the verb learns nothing of what is wrong with the request, as over HTTP. */
function answering(access: AccessControl) {
  return <Request extends object, Response extends object>({
    request,
    response,
    answer,
  }: GroupCall<Request, Response>): handleUnaryCall<Buffer, Buffer> => {
    return async (call, respond) => {
      try {
        const caller = callerOf(call);
        access.authorize(caller, { verbs: ['groups'] });
        const message = request.decode(call.request, COMMIT_BYTES_MAX);
        respond(null, response.encode(await answer(message, caller)));
      } catch (cause) {
        respond(callFailure(asBackplaneError(cause)));
      }
    };
  };
}
