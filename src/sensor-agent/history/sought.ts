/** What a query seeks, so that a replay can pass over what holds nothing of it. */
import type { Predicate } from '../../subscriptions/predicate.js';
import type { CheckpointHead } from '../recorder/checkpoint.js';
import type { Needed, Sought } from '../recorder/passing/stretch-scan.js';
import { DATAGRAM_EVENTS } from '../timeline/datagrams/datagram-events.js';

const TCP = ['network.tcp.connect', 'network.tcp.accept', 'network.tcp.listen', 'network.tcp.close'];
const DATAGRAMS = ['network.udp.connect', 'network.udp.send', 'network.dns.query'];
const NOTICES = ['host.start', 'host.stop', 'host.loss', 'host.degraded'];

/** Types of events that the entries which are always followed are told as; of all others each is sought that is noted. */
const TOLD_AS: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ['sched_process_exec', ['process.exec']],
  ['sched_process_exit', ['process.exit']],
  ['task_newtask', ['process.fork']],
  ['task_rename', ['process.rename']],
  ['signal_generate', ['process.signal']],
  ['inet_sock_set_state', TCP],
  ['security_sock_graft', TCP],
  ...['do_exit', 'do_group_exit', 'commit_creds', 'cgroup_attach_task', 'cgroup_transfer_tasks'].map(
    (name) => [name, []] as const,
  ),
  ...DATAGRAM_EVENTS.map((name) => [name, DATAGRAMS] as const),
]);
/** Of an exec, nothing but its side record has the arguments. */
const ONLY_IN_EXEC = { type: 'process.exec', field: 'process.command_args' };
const ANYTHING: readonly Needed[] = [{ texts: undefined, inExec: false }];

/** Sought is what any of the predicates seeks. */
export function soughtBy(predicates: readonly Predicate[], passes: (head: CheckpointHead) => boolean): Sought {
  const needed = new Map<string, readonly Needed[]>();
  const needs = new Map<string, readonly Needed[]>();
  for (const [name, types] of TOLD_AS) {
    for (const type of types) if (!needed.has(type)) needed.set(type, neededByAny(predicates, type));
    needs.set(
      name,
      types.flatMap((type) => needed.get(type)!),
    );
  }
  return {
    needs: (traceEvent) => needs.get(traceEvent) ?? ANYTHING,
    texts: [...needed.values()].flat().flatMap((each) => (each.texts ? [each.texts] : [])),
    notices: NOTICES.some((type) => predicates.some((predicate) => predicate.mayMatchType(type))),
    passes,
  };
}

/** Undefined: whether an exec is sought does not follow from its arguments. */
export function execTest(
  predicates: readonly Predicate[],
): ((args: readonly string[] | undefined) => boolean) | undefined {
  const several = predicates.length > 1;
  const asking = several ? predicates.filter((each) => each.mayMatchType(ONLY_IN_EXEC.type)) : predicates;
  const required = asking.map((predicate) => predicate.requiredText(ONLY_IN_EXEC.type));
  if (asking.length === 0 || required.some((each) => each?.field !== ONLY_IN_EXEC.field)) return undefined;
  const texts = required.flatMap((each) => each!.texts);
  return (args = []) => args.some((arg) => texts.some((text) => arg.includes(text)));
}

/** None: no event of the type is sought. One that needs nothing stands for all others. */
function neededByAny(predicates: readonly Predicate[], type: string): readonly Needed[] {
  const needed = predicates.flatMap((predicate) => neededBy(predicate, type) ?? []);
  const nothing = needed.find(({ texts }) => texts === undefined);
  return nothing ? [nothing] : needed;
}

/** Undefined: no event of the type is sought. */
function neededBy(predicate: Predicate, type: string): Needed | undefined {
  if (!predicate.mayMatchType(type)) return undefined;
  const required = predicate.requiredText(type);
  const inExec = type === ONLY_IN_EXEC.type && required?.field === ONLY_IN_EXEC.field;
  return { texts: required?.texts.map((text) => Buffer.from(text, 'latin1')), inExec };
}
