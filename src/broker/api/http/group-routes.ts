/** The routes of groups. */
import { invalid } from '../../../errors.js';
import { shown } from '../../../text/shown.js';
import {
  commitRequestCodec,
  commitResponseCodec,
  deleteGroupResponseCodec,
  getGroupResponseCodec,
  listGroupsResponseCodec,
  resetGroupRequestCodec,
  resetGroupResponseCodec,
  setGroupFilterRequestCodec,
  setGroupFilterResponseCodec,
} from '../../../wire/messages.js';
import type { MessageCodec } from '../../../wire/schema.js';
import type { Caller } from '../../access/gate.js';
import type { GroupService } from '../../groups/group-service.js';
import { inProtoNames } from '../proto-names.js';
import { sendMessage } from './answer.js';
import { readJsonBody } from './body.js';
import type { Call, Route } from './route.js';

export function groupRoutes(groups: GroupService): Route[] {
  return [
    {
      ...{ method: 'GET', path: '/v1/groups', role: 'groups' },
      handler: ({ response, caller }) => sendMessage(response, listGroupsResponseCodec, groups.list(caller)),
      schema: {
        ...{ id: 'listGroups', summary: 'the groups, and how far behind they are' },
        answer: { kind: 'message', name: 'ListGroupsResponse' },
      },
    },
    {
      ...{ method: 'GET', path: '/v1/groups/{group}', role: 'groups' },
      handler: ({ response, path, caller }) => {
        sendMessage(response, getGroupResponseCodec, groups.show(path.group ?? '', caller));
      },
      schema: {
        ...{ id: 'getGroup', summary: 'one group, with its slices' },
        answer: { kind: 'message', name: 'GetGroupResponse' },
      },
    },
    {
      ...{ method: 'DELETE', path: '/v1/groups/{group}', role: 'groups' },
      handler: async ({ response, path, caller }) => {
        await groups.delete(path.group ?? '', caller);
        sendMessage(response, deleteGroupResponseCodec, {});
      },
      schema: {
        ...{ id: 'deleteGroup', summary: 'removes a group without members, with its cursors' },
        answer: { kind: 'message', name: 'DeleteGroupResponse' },
      },
    },
    posting('/v1/groups/{group}/commit', commitRequestCodec, commitResponseCodec, {
      ...{ id: 'commit', summary: 'states up to where slices were processed' },
      ...{ body: 'CommitRequest', answer: 'CommitResponse' },
      act: async (request, caller) => {
        await groups.commit(request, caller);
        return {};
      },
    }),
    posting('/v1/groups/{group}/reset', resetGroupRequestCodec, resetGroupResponseCodec, {
      ...{ id: 'resetGroup', summary: 'lets a group without members begin at another time' },
      ...{ body: 'ResetGroupRequest', answer: 'ResetGroupResponse' },
      act: (request, caller) => groups.reset(request, caller),
    }),
    posting('/v1/groups/{group}/filter', setGroupFilterRequestCodec, setGroupFilterResponseCodec, {
      ...{ id: 'setGroupFilter', summary: 'changes what a group subscribes to, and keeps its cursors' },
      ...{ body: 'SetGroupFilterRequest', answer: 'SetGroupFilterResponse' },
      act: (request, caller) => groups.setFilter(request, caller),
    }),
  ];
}

interface Posted<Request, Response> {
  readonly id: string;
  readonly summary: string;
  /** The messages' names. */
  readonly body: string;
  readonly answer: string;
  readonly act: (request: Request, caller: Caller) => Promise<Response>;
}

/** A message about the group of the path, which the body may repeat. */
function posting<Request extends { readonly group: string }, Response extends object>(
  path: string,
  request: MessageCodec<object, Request>,
  response: MessageCodec<Response, unknown>,
  { id, summary, body, answer, act }: Posted<Request, Response>,
): Route {
  const handler = async (call: Call) => {
    const { group = '' } = call.path;
    const given = request.fromJson(await readJsonBody(call.request));
    if (given.group !== '' && given.group !== group) {
      throw invalid('group', `must be ${shown(group)}, as in the path, or left out, got ${shown(given.group)}`);
    }
    try {
      sendMessage(call.response, response, await act({ ...given, group }, call.caller));
    } catch (cause) {
      throw inProtoNames(cause);
    }
  };
  return {
    ...{ method: 'POST', path, role: 'groups', handler },
    schema: { id, summary, body, answer: { kind: 'message', name: answer } },
  };
}
