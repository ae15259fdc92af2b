/** What gRPC and HTTP alike let callers ask of groups: each call's messages, and what answers it. */
import {
  commitRequestCodec,
  commitResponseCodec,
  deleteGroupRequestCodec,
  deleteGroupResponseCodec,
  type Group,
  getGroupRequestCodec,
  getGroupResponseCodec,
  type ListGroupsResponse,
  listGroupsRequestCodec,
  listGroupsResponseCodec,
  resetGroupRequestCodec,
  resetGroupResponseCodec,
  setGroupFilterRequestCodec,
  setGroupFilterResponseCodec,
} from '../../wire/messages.js';
import type { MessageCodec } from '../../wire/schema.js';
import type { Caller } from '../access/gate.js';
import type { GroupService } from '../groups/group-service.js';
import { onePage, type Page, pageByName } from './page.js';
import { inProtoNames } from './proto-names.js';

export interface GroupCall<Request extends object, Response extends object> {
  readonly request: MessageCodec<object, Request>;
  readonly response: MessageCodec<Response, unknown>;
  /** Rejects with errors that name fields as the protos do. */
  readonly answer: (request: Request, caller: Caller) => Promise<Response>;
}

export function groupCalls(groups: GroupService) {
  return {
    ListGroups: call(listGroupsRequestCodec, listGroupsResponseCodec, (request, caller) => {
      return onePageOf(groups.list(caller), pageByName(request));
    }),
    GetGroup: call(getGroupRequestCodec, getGroupResponseCodec, ({ group }, caller) => groups.show(group, caller)),
    DeleteGroup: call(deleteGroupRequestCodec, deleteGroupResponseCodec, async ({ group }, caller) => {
      await groups.delete(group, caller);
      return {};
    }),
    Commit: call(commitRequestCodec, commitResponseCodec, async (request, caller) => {
      await groups.commit(request, caller);
      return {};
    }),
    ResetGroup: call(resetGroupRequestCodec, resetGroupResponseCodec, (request, caller) => {
      return groups.reset(request, caller);
    }),
    SetGroupFilter: call(setGroupFilterRequestCodec, setGroupFilterResponseCodec, (request, caller) => {
      return groups.setFilter(request, caller);
    }),
  };
}

function onePageOf(groups: readonly Group[], page: Page<string>): ListGroupsResponse {
  const name = (group: Group) => group.name ?? '';
  // Each may have some hundred members.
  const bytes = (group: Group) => listGroupsResponseCodec.encode({ groups: [group] }).length;
  const { items, nextPageToken } = onePage(groups, page, name, bytes);
  return { groups: [...items], nextPageToken };
}

function call<Request extends object, Response extends object>(
  request: MessageCodec<object, Request>,
  response: MessageCodec<Response, unknown>,
  answer: (request: Request, caller: Caller) => Response | Promise<Response>,
): GroupCall<Request, Response> {
  return {
    request,
    response,
    async answer(message, caller) {
      try {
        return await answer(message, caller);
      } catch (cause) {
        throw inProtoNames(cause);
      }
    },
  };
}
