/** Which parts an event of a type has: what the client library's types are made of (scripts/typed-messages.js). */
import { carries, topicOf } from './event.js';

export interface EventParts {
  /** Every event of the type has them, unless its subscription's fields leave them out. */
  readonly always: readonly string[];
  readonly sometimes: readonly string[];
}

const PARTS = ['network', 'dns', 'signal', 'notice', 'raw', 'syscall', 'file', 'mount', 'object'];
/** Only where the node's kernel says what a call names. */
const WHERE_NAMED: readonly string[] = ['mount', 'object'];
/** Who acted is not known of what happens in an interrupt. */
const ACTED_BY_A_PROCESS = /^network\.|^process\.(?!signal$)/;

export function partsOf(type: string): EventParts {
  const carried = PARTS.filter((part) => carries(type, part));
  const always = carried.filter((part) => !WHERE_NAMED.includes(part));
  const sometimes = carried.filter((part) => WHERE_NAMED.includes(part));
  if (topicOf(type) === 'host') return { always, sometimes };
  const hasProcess = ACTED_BY_A_PROCESS.test(type);
  return {
    always: hasProcess ? ['process', ...always] : always,
    sometimes: [...(hasProcess ? [] : ['process']), 'container', 'k8s', ...sometimes],
  };
}
