/** `backplane publish TOPIC`: one event from flags, or a line of JSON for each from standard input. */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { PublishClient } from '../client/publish-client.js';
import { BackplaneError, invalid } from '../errors.js';
import { PUBLISH_BODY_BYTES_MAX, PUBLISH_BYTES_MAX } from '../limits.js';
import { parseTimestamp } from '../text/time-text.js';
import { jsonToValue } from '../wire/event/event-json.js';
import { checkJsonValue, type JsonValue } from '../wire/json-value.js';
import { nsToTimestamp, type PublishedEvent } from '../wire/messages.js';
import { type PublishDraft, publishBatchOf } from '../wire/publish-request.js';
import { credentialFor } from './connection/credential-lookup.js';
import { CLIENT_KEYS, connectionOf } from './connection/credentials.js';
import { INTERRUPTED, watchInterrupt } from './process/interrupt.js';
import { addSettingFlags, commandConfig } from './setting-flags.js';

interface Options {
  readonly id?: string;
  readonly body?: string;
  readonly type?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly time?: string;
  readonly key?: string;
  readonly traceparent?: string;
}

/** Lines that are sent together: well below what a batch may hold. */
const LINES_MAX = 500;
const BATCH_BYTES_MAX = PUBLISH_BYTES_MAX / 4;
/** The longest line: a body with every character escaped, and the attributes. */
const LINE_CHARACTERS_MAX = 8 * PUBLISH_BODY_BYTES_MAX;

export function define(command: Command): void {
  command
    .argument('<topic>', 'app.NAME, or alert')
    .option('--id <id>', 'names the event: what comes again under the same id is stored once (default a new UUID)')
    .option('--body <json>', 'any JSON; without it events are read from standard input, one JSON object a line')
    .option('--type <type>', 'what happened, like com.example.deployed (default the topic)')
    .option('--source <source>', 'where it happened (default your identity)')
    .option('--subject <subject>', 'what it happened to')
    .option('--time <time>', 'when it happened, RFC 3339')
    .option('--key <key>', 'what it is about, such as a host: kept with it')
    .option('--traceparent <traceparent>', 'W3C Trace Context');
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async (topic: string) => {
    const options = command.opts<Options>();
    const config = await commandConfig(command, CLIENT_KEYS);
    const client = new PublishClient(config.settings.brokers, credentialFor(config), connectionOf(config));
    const interrupt = watchInterrupt();
    const sent = new Sent(topic, client, interrupt.signal);
    try {
      if (options.body === undefined) await publishLines(sent, options);
      else await sent.batch([eventOf(options)]);
    } catch (cause) {
      if (!interrupt.signal.aborted) throw cause;
      process.exitCode = INTERRUPTED;
    } finally {
      client.close();
      interrupt.release();
      process.stderr.write(sent.summary);
    }
  });
}

/** Publishes, and counts. */
class Sent {
  #events = 0;
  #duplicates = 0;
  readonly #topic: string;
  readonly #client: PublishClient;
  readonly #signal: AbortSignal;

  constructor(topic: string, client: PublishClient, signal: AbortSignal) {
    this.#topic = topic;
    this.#client = client;
    this.#signal = signal;
  }

  get signal(): AbortSignal {
    return this.#signal;
  }

  async batch(events: readonly PublishedEvent[]): Promise<void> {
    const { duplicates } = await this.#client.publish(this.#topic, events, this.#signal);
    this.#events += events.length - duplicates;
    this.#duplicates += duplicates;
  }

  get summary(): string {
    const known = this.#duplicates === 0 ? '' : `, ${this.#duplicates} known already`;
    return `-- ${this.#events} ${this.#events === 1 ? 'event' : 'events'} published${known}\n`;
  }
}

function eventOf({ body, time, ...attributes }: Options): PublishedEvent {
  const id = attributes.id ?? randomUUID();
  const timeNs = time === undefined ? undefined : parseTimestamp(time);
  if (time !== undefined && timeNs === undefined)
    throw new BackplaneError(
      'invalid_argument',
      `--time must be like 2026-01-31T12:00:00Z, got ${JSON.stringify(time)}`,
    );
  const json = body === undefined ? undefined : parsed(body, '--body');
  return {
    ...attributes,
    id,
    ...(timeNs === undefined ? {} : { time: nsToTimestamp(timeNs) }),
    ...(json === undefined ? {} : { body: jsonToValue(json) }),
  };
}

/** Flags are defaults of what the lines do not say. A pause in the input sends what has come. */
async function publishLines(sent: Sent, options: Options): Promise<void> {
  if (process.stdin.isTTY === true)
    process.stderr.write('-- one JSON object a line: {"id": "…", "body": …}; end with Ctrl-D\n');
  const { id, ...defaults } = options;
  if (id !== undefined)
    throw new BackplaneError('invalid_argument', '--id needs --body: each line has an id of its own');
  let events: PublishedEvent[] = [];
  let bytes = 0;
  let number = 0;
  const lines = createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  const stop = () => lines.close();
  sent.signal.addEventListener('abort', stop, { once: true });
  const flush = async () => {
    const batch = events;
    events = [];
    bytes = 0;
    if (batch.length > 0) await sent.batch(batch);
  };
  for await (const line of lines) {
    number++;
    if (sent.signal.aborted) break;
    if (line.trim() === '') continue;
    events.push(eventOfLine(line, number, defaults));
    bytes += line.length;
    // What the terminal or the pipe has handed over is sent together; who types sees it published line by line.
    const more = process.stdin.readableLength > 0 || (lines as { line?: string }).line !== '';
    if (events.length >= LINES_MAX || bytes >= BATCH_BYTES_MAX || !more) await flush();
  }
  await flush();
}

function eventOfLine(line: string, number: number, defaults: Options): PublishedEvent {
  const where = `line ${number}`;
  if (line.length > LINE_CHARACTERS_MAX)
    throw invalid(where, `must be at most ${LINE_CHARACTERS_MAX} characters, got ${line.length}`);
  const [draft] = readLine(parsed(line, where), where);
  const { body, timeNs, ...given } = draft!;
  const event = eventOf({
    ...defaults,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== '')),
  });
  return {
    ...event,
    ...(timeNs === undefined ? {} : { time: nsToTimestamp(timeNs) }),
    ...(body === undefined ? {} : { body: jsonToValue(body as JsonValue) }),
  };
}

function readLine(json: JsonValue, where: string): readonly PublishDraft[] {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw invalid(where, 'must be a JSON object: {"id": "…", "body": …}');
  try {
    return publishBatchOf({ events: [json] }, '', 0).events;
  } catch (cause) {
    if (!(cause instanceof BackplaneError)) throw cause;
    throw new BackplaneError(cause.code, `${where}: ${cause.message.replace(/^"?events\[0\]\.?/, '')}`, cause.details);
  }
}

function parsed(text: string, where: string): JsonValue {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new BackplaneError('invalid_argument', `${where} must be JSON, like {"version": "1.4.2"}`);
  }
  checkJsonValue(json, where);
  return json;
}
