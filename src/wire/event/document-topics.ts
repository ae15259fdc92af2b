/**
 * Topics that are born in the broker: what applications publish, alerts, and the audit. Their events are kept in logs of
 * documents, come only where they are named, and have no recorder.
 *
 *   topic := "app." [a-z0-9] [a-z0-9._-]* | "alert" | "audit"
 */
import { APP_TOPIC_BYTES_MAX } from '../../limits.js';

/** In the order in which cursors have their offsets. */
export const DOCUMENT_LOGS = ['app', 'alert', 'audit'] as const;
export type DocumentLogName = (typeof DOCUMENT_LOGS)[number];

/** All topics of applications, in a subscription. */
export const EVERY_APP_TOPIC = 'app.*';

/** What may be asked for, with a line for people. */
export const DOCUMENT_TOPICS: Readonly<Record<string, string>> = {
  [EVERY_APP_TOPIC]: 'what applications publish; a topic is app.NAME (only where it is named)',
  alert: 'what detection publishes (only where it is named)',
  audit: 'who changed what, and who was refused (only where it is named)',
};

const APP_TOPIC = /^app\.[a-z0-9][a-z0-9._-]*$/;

/** The log that has a topic, or all that the pattern `app.*` stands for; undefined where none has. */
export function documentLogOf(topic: string): DocumentLogName | undefined {
  if (topic === 'alert' || topic === 'audit') return topic;
  return topic === EVERY_APP_TOPIC || isAppTopic(topic) ? 'app' : undefined;
}

export function isAppTopic(topic: string): boolean {
  return topic.length <= APP_TOPIC_BYTES_MAX && APP_TOPIC.test(topic);
}
