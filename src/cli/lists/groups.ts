/** `backplane groups`: groups of subscribers, who is in them, and how far they have got. */
import type { Command } from 'commander';
import { timestampNs, timestampText } from '../../subscriptions/timestamp.js';
import type { GetGroupResponse__Output, ListGroupsResponse__Output } from '../../wire/messages.js';
import { asTyped } from '../command-name.js';
import { compactBytes } from '../render/bytes.js';
import { type Column, fittedTable, wrapText } from '../render/columns.js';
import { safeText } from '../render/text.js';
import { agoText } from '../render/time.js';
import { defineDeleteGroup, defineResetGroup, defineSetFilter } from './change-group.js';
import { defineList } from './list.js';

type ListedGroup = ListGroupsResponse__Output['groups'][number];
type ListedSlice = GetGroupResponse__Output['slices'][number];

/** With the space behind it. */
const NAME_WIDTH = 16;

export function define(command: Command): void {
  const show = command.command('show').description('one group: its members and slices').argument('<group>', 'its name');
  defineList(show, {
    ask: (client) => client.getGroup(String(show.args[0])),
    text: groupText,
  });
  defineDeleteGroup(command.command('delete').description('remove a group without members, with its cursors'));
  defineResetGroup(command.command('reset').description('let a group without members begin at another time'));
  defineSetFilter(command.command('set-filter').description('change what a group subscribes to, and keep its place'));
  defineList(command, { ask: (client) => client.listGroups(), items: (answer) => answer.groups, text: groupsText });
}

export function groupsText(answer: ListGroupsResponse__Output, nowNs: bigint, width?: number): string {
  if (answer.groups.length === 0) return asTyped('there is no group: try "backplane observe --group NAME"\n');
  return fittedTable(
    GROUP_COLUMNS,
    answer.groups.map((group) => [
      safeText(group.name),
      stateText(group, nowNs),
      String(group.members.length),
      String(group.slices),
      group.lagEvents,
      group.created ? agoText(timestampNs(group.created), nowNs) : '-',
      safeText(group.owner) || '-',
      compactBytes(group.unattendedBytes),
      safeText(group.topics.join(',')),
      safeText(group.nodes.join(',')) || '(every node)',
      safeText(group.filter),
    ]),
    width,
  );
}

const GROUP_COLUMNS: readonly Column[] = [
  { title: 'GROUP' },
  { title: 'STATE' },
  { title: 'MEMBERS', align: 'right' },
  { title: 'SLICES', align: 'right', rank: 6 },
  { title: 'LAG', align: 'right' },
  { title: 'SINCE', rank: 4 },
  { title: 'OWNER', rank: 5 },
  { title: 'UNREAD', align: 'right', rank: 7 },
  { title: 'TOPICS', wraps: true, rank: 2 },
  { title: 'NODES', wraps: true, rank: 3 },
  { title: 'FILTER', wraps: true, rank: 1 },
];

/** What holds of a group without members is what costs, or is lost. */
function stateText({ expired, members, interestUntil, cursorsUntil }: ListedGroup, nowNs: bigint): string {
  if (expired) return 'expired';
  if (members.length > 0) return 'attended';
  if (interestUntil) return `asks for ${inText(interestUntil, nowNs)}`;
  return cursorsUntil ? `kept for ${inText(cursorsUntil, nowNs)}` : 'left';
}

function inText(time: NonNullable<ListedGroup['created']>, nowNs: bigint): string {
  const leftNs = timestampNs(time) - nowNs;
  return agoText(nowNs, leftNs > 0n ? nowNs + leftNs : nowNs);
}

function lagText({ lagEvents, lagSince }: ListedGroup, nowNs: bigint): string {
  return `${lagEvents} events${lagSince ? `, the oldest for ${agoText(timestampNs(lagSince), nowNs)} in the log` : ''}`;
}

/** Lines of facts, then a table of members and one of slices. */
export function groupText({ group, slices }: GetGroupResponse__Output, nowNs: bigint, width?: number): string {
  if (!group) return '';
  const facts: [string, string][] = [
    ['group', safeText(group.name)],
    ['state', stateText(group, nowNs)],
    ['filter', safeText(group.filter)],
    ['topics', safeText(group.topics.join(', '))],
    ['nodes', safeText(group.nodes.join(', ')) || 'every node'],
    ['owner', safeText(group.owner) || '-'],
    ['begins', group.since && timestampNs(group.since) > 0n ? timestampText(group.since) : 'where recordings do'],
    ['lag', lagText(group, nowNs)],
  ];
  if (group.fields.length > 0) facts.push(['fields', safeText(group.fields.join(', '))]);
  const lines = facts.flatMap(([name, value]) =>
    wrapText(value, Math.max(20, (width ?? 10_000) - NAME_WIDTH)).map(
      (line, index) => `${(index === 0 ? name : '').padEnd(NAME_WIDTH)}${line}\n`,
    ),
  );
  const members = fittedTable(
    MEMBER_COLUMNS,
    group.members.map(({ member, state, slices: own, client, peer, identity, joined }) => [
      safeText(member),
      safeText(state),
      String(own.length),
      own.join(',') || '-',
      joined ? agoText(timestampNs(joined), nowNs) : '-',
      safeText(peer) || '-',
      safeText(identity) || '-',
      safeText(client) || '-',
    ]),
    width,
  );
  const table = fittedTable(
    SLICE_COLUMNS,
    slices.map((slice) => sliceRow(slice, nowNs)),
    width,
  );
  return `${lines.join('')}\n${group.members.length > 0 ? `${members}\n` : ''}${table}`;
}

const MEMBER_COLUMNS: readonly Column[] = [
  { title: 'MEMBER' },
  { title: 'STATE' },
  { title: 'HAS', align: 'right' },
  { title: 'SLICES', wraps: true, rank: 4 },
  { title: 'SINCE', rank: 3 },
  { title: 'FROM', rank: 2 },
  { title: 'AS', rank: 5 },
  { title: 'CLIENT', rank: 1 },
];

const SLICE_COLUMNS: readonly Column[] = [
  { title: 'SLICE', align: 'right' },
  { title: 'EPOCH', align: 'right', rank: 2 },
  { title: 'LAG', align: 'right' },
  { title: 'OLDEST', rank: 3 },
  { title: 'COMMITTED' },
  { title: 'UNCOMMITTED SINCE', rank: 1 },
  { title: 'MEMBER' },
];

function sliceRow(
  { slice, epoch, lagEvents, lagSince, committed, uncommittedSince, member }: ListedSlice,
  nowNs: bigint,
): string[] {
  return [
    String(slice),
    epoch,
    lagEvents,
    lagSince ? agoText(timestampNs(lagSince), nowNs) : '-',
    committed ? agoText(timestampNs(committed), nowNs) : 'never',
    uncommittedSince ? agoText(timestampNs(uncommittedSince), nowNs) : '-',
    safeText(member) || '-',
  ];
}
