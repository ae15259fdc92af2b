/** The setting `publish.ids`: how long ids of published events are remembered, by topic. */
import * as z from 'zod';
import * as limits from '../limits.js';
import { durationMsText, parseDurationMs } from '../text/time-text.js';
import { EVERY_APP_TOPIC, isAppTopic } from '../wire/event/document-topics.js';

interface IdWindow {
  readonly ageMsMax: number;
  readonly countMax: number;
}

/** By topic; `app.*` is for those that are not named. */
export type IdWindows = ReadonlyMap<string, IdWindow>;

const ITEM = /^([^=]+)=([^/]+)(?:\/(\d{1,9}))?$/;
const AGE_MS_MAX = 30 * 24 * 3600 * 1000;
const FORM = `must hold topic=time/count items, like app.deploy=1h/50000: app.* and alert among the topics, the time at most 30d, the count 1 to ${limits.KNOWN_IDS_TOTAL_MAX}`;

export const idWindowsSchema: z.ZodType<IdWindows, string> = z.string().transform((text, context) => {
  const items = text.split(',').flatMap((item) => item.trim() || []);
  const windows = items.map(windowOf);
  if (items.length > limits.KNOWN_IDS_TOPICS_MAX || windows.includes(undefined)) {
    context.addIssue({ code: 'custom', message: FORM });
    return z.NEVER;
  }
  const named = new Map(windows as (readonly [string, IdWindow])[]);
  // What is not named keeps its default.
  return new Map([...DEFAULTS, ...named]);
});

const DEFAULTS: IdWindows = new Map([
  [EVERY_APP_TOPIC, { ageMsMax: limits.KNOWN_IDS_MS_DEFAULT, countMax: limits.KNOWN_IDS_MAX_DEFAULT }],
  ['alert', { ageMsMax: limits.KNOWN_ALERT_IDS_MS, countMax: limits.KNOWN_IDS_MAX_DEFAULT }],
]);

function windowOf(item: string): readonly [string, IdWindow] | undefined {
  const [, topic = '', age = '', count] = ITEM.exec(item) ?? [];
  const ageMsMax = parseDurationMs(age);
  const countMax = count === undefined ? limits.KNOWN_IDS_MAX_DEFAULT : Number(count);
  const known = topic === EVERY_APP_TOPIC || topic === 'alert' || isAppTopic(topic);
  if (!known || ageMsMax === undefined || ageMsMax < 1 || ageMsMax > AGE_MS_MAX) return undefined;
  if (countMax < 1 || countMax > limits.KNOWN_IDS_TOTAL_MAX) return undefined;
  return [topic, { ageMsMax, countMax }];
}

export function idWindowsText(windows: IdWindows): string {
  return [...windows]
    .map(([topic, { ageMsMax, countMax }]) => `${topic}=${durationMsText(ageMsMax)}/${countMax}`)
    .join(',');
}

/** The window of a topic. */
export function windowOfTopic(windows: IdWindows, topic: string): IdWindow {
  return windows.get(topic) ?? windows.get(EVERY_APP_TOPIC)!;
}
