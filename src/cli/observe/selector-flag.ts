/**
 * The flag `--selector`: one of several filters of one stream, with the id by which its events are told apart.
 *
 *   selector := id [":" topic ("," topic)*] "=" filter        the id has neither ":" nor "="
 */
import { BackplaneError } from '../../errors.js';
import type { SubscribeRequest } from '../../wire/messages.js';

type Selector = NonNullable<SubscribeRequest['selectors']>[number];

const FORM = /^(?<id>[^:=]+)(?::(?<topics>[^=]+))?=(?<filter>.*)$/s;

/** @param fields those that are wanted of each event; none: the usual ones */
export function parseSelector(text: string, fields: readonly string[] = []): Selector {
  const { id, topics, filter } = FORM.exec(text)?.groups ?? {};
  if (id === undefined) {
    const form = `ID=FILTER or ID:TOPIC,TOPIC=FILTER, such as 'shells:process=process.executable.name == "sh"'`;
    throw new BackplaneError(
      'invalid_argument',
      `--selector must be ${form}, got ${JSON.stringify(text.slice(0, 80))}`,
    );
  }
  const named = topics?.split(',').map((topic) => topic.trim()) ?? [];
  return { id, topics: named, filter: filter ?? '', fields: [...fields] };
}
