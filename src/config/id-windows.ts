/** The setting `publish.ids`: how long ids of published events are remembered, and how many, by topic. */
import * as limits from '../limits.js';
import { parseDurationMs } from '../text/time-text.js';
import { EVERY_APP_TOPIC, isAppTopic } from '../wire/event/document-topics.js';

interface IdWindow {
  readonly ageMsMax: number;
  readonly countMax: number;
}

/** `app.deploy=1h/50000`; without a count the default. */
const ITEM = /^([^=]+)=([^/]+)(?:\/(\d{1,9}))?$/;
const AGE_MS_MAX = 30 * 24 * 3600 * 1000;

/** What holds where no item says otherwise; `app.*` is for the topics that are not named. */
const DEFAULTS: ReadonlyMap<string, IdWindow> = new Map([
  [EVERY_APP_TOPIC, { ageMsMax: limits.KNOWN_IDS_MS_DEFAULT, countMax: limits.KNOWN_IDS_MAX_DEFAULT }],
  ['alert', { ageMsMax: limits.KNOWN_ALERT_IDS_MS, countMax: limits.KNOWN_IDS_MAX_DEFAULT }],
]);

export const ID_WINDOWS_DEFAULT = 'app.*=10m/100000,alert=1d/100000';
export const ID_WINDOW_FORM =
  'topic=time/count items, like app.deploy=1h/50000: app.* and alert among the topics, at most 30d, at most ' +
  `${limits.KNOWN_IDS_TOTAL_MAX} ids`;

export function isIdWindow(item: string): boolean {
  return parsed(item) !== undefined;
}

/** By topic, of items that are right. */
export function idWindows(items: readonly string[]): ReadonlyMap<string, IdWindow> {
  const named = items.map(parsed).filter((entry) => entry !== undefined);
  return new Map([...DEFAULTS, ...named]);
}

/** The window of a topic. */
export function windowOfTopic(windows: ReadonlyMap<string, IdWindow>, topic: string): IdWindow {
  return windows.get(topic) ?? windows.get(EVERY_APP_TOPIC)!;
}

function parsed(item: string): readonly [topic: string, window: IdWindow] | undefined {
  const [, topic = '', age = '', count] = ITEM.exec(item) ?? [];
  const ageMsMax = parseDurationMs(age);
  const countMax = count === undefined ? limits.KNOWN_IDS_MAX_DEFAULT : Number(count);
  const known = topic === EVERY_APP_TOPIC || topic === 'alert' || isAppTopic(topic);
  if (!known || ageMsMax === undefined || ageMsMax < 1 || ageMsMax > AGE_MS_MAX) return undefined;
  return countMax < 1 || countMax > limits.KNOWN_IDS_TOTAL_MAX ? undefined : [topic, { ageMsMax, countMax }];
}
