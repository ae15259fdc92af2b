/** The routes of groups. */
import { invalid } from '../../../errors.js';
import { shown } from '../../../text/shown.js';
import type { GroupService } from '../../groups/group-service.js';
import { type GroupCall, groupCalls } from '../group-calls.js';
import { sendMessage } from './answer.js';
import { readJsonBody } from './body.js';
import { pageRequest } from './query.js';
import type { Call, Route, RouteSchema } from './route.js';

interface Described {
  readonly method: Route['method'];
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  /** The messages' names; no body: the path says all. */
  readonly body?: string;
  /** The request's message that query parameters stand for. */
  readonly query?: RouteSchema['query'];
  readonly answer: string;
}

export function groupRoutes(groups: GroupService): Route[] {
  const calls = groupCalls(groups);
  return [
    route(calls.ListGroups, {
      ...{ method: 'GET', path: '/v1/groups', id: 'listGroups', answer: 'ListGroupsResponse' },
      query: 'ListGroupsRequest',
      summary: 'the groups, and how far behind they are',
    }),
    route(calls.GetGroup, {
      ...{ method: 'GET', path: '/v1/groups/{group}', id: 'getGroup', answer: 'GetGroupResponse' },
      summary: 'one group, with its slices',
    }),
    route(calls.DeleteGroup, {
      ...{ method: 'DELETE', path: '/v1/groups/{group}', id: 'deleteGroup', answer: 'DeleteGroupResponse' },
      summary: 'removes a group without members, with its cursors',
    }),
    route(calls.Commit, {
      ...{ method: 'POST', path: '/v1/groups/{group}/commit', id: 'commit', answer: 'CommitResponse' },
      ...{ body: 'CommitRequest', summary: 'states up to where slices were processed' },
    }),
    route(calls.ResetGroup, {
      ...{ method: 'POST', path: '/v1/groups/{group}/reset', id: 'resetGroup', answer: 'ResetGroupResponse' },
      ...{ body: 'ResetGroupRequest', summary: 'lets a group without members begin at another time' },
    }),
    route(calls.SetGroupFilter, {
      ...{ method: 'POST', path: '/v1/groups/{group}/filter', id: 'setGroupFilter', answer: 'SetGroupFilterResponse' },
      ...{ body: 'SetGroupFilterRequest', summary: 'changes what a group subscribes to, and keeps its cursors' },
    }),
  ];
}

/** A message about the group of the path, which a body may repeat. */
function route<Request extends object, Response extends object>(
  { request, response, answer }: GroupCall<Request, Response>,
  { method, path, id, summary, body, query, answer: name }: Described,
): Route {
  const handler = async (call: Call) => {
    const { group = '' } = call.path;
    const asked = query === undefined ? {} : pageRequest(call.query);
    const given = request.fromJson(body === undefined ? asked : await readJsonBody(call.request));
    const stated = (given as { readonly group?: string }).group ?? '';
    if (stated !== '' && stated !== group) {
      throw invalid('group', `must be ${shown(group)}, as in the path, or left out, got ${shown(stated)}`);
    }
    sendMessage(call.response, response, await answer({ ...given, group }, call.caller));
  };
  return {
    ...{ method, path, role: 'groups', handler },
    schema: { id, summary, ...(body && { body }), ...(query && { query }), answer: { kind: 'message', name } },
  };
}
