/** Events that are born in the broker in one line of safe text: the part after time, publisher and topic. */
import { SHOWN_ARGUMENTS_CHARACTERS_MAX } from '../../limits.js';
import { valueToJson } from '../../wire/event/event-json.js';
import type { EventMessage } from '../../wire/messages.js';
import { type Palette, PLAIN } from './palette.js';
import { jsonText, safeText } from './text.js';

/** Undefined for events of the kernel. */
export function documentText(topic: string, event: EventMessage, palette: Palette = PLAIN): string | undefined {
  if (event.alert) return alertText(event.alert, palette);
  if (event.audit) return auditText(event.audit, palette);
  if (!event.app) return undefined;
  const { subject, body } = event.app;
  const type = event.type === topic ? '' : palette.bold(safeText(event.type));
  return join(type, safeText(subject), bodyText(body));
}

function alertText(alert: NonNullable<EventMessage['alert']>, palette: Palette): string {
  const { state, severity, title, ruleId, nodes, occurrences, details } = alert;
  const severe = severity === 0 ? '' : `severity ${severity}`;
  const where = nodes.length === 0 ? '' : `on ${safeText(nodes.join(', '))}`;
  const often = Number(occurrences) > 1 ? `${occurrences} times` : '';
  const rule = ruleId === '' ? '' : palette.dim(`rule ${safeText(ruleId)}`);
  return join(safeText(state), severe, palette.bold(safeText(title)), where, often, rule, bodyText(details));
}

function auditText(audit: NonNullable<EventMessage['audit']>, palette: Palette): string {
  const { action, identity, peer, outcome, code, message, count, details } = audit;
  const who = join(safeText(identity), palette.dim(safeText(peer)));
  const refused = outcome === 'refused' ? `refused: ${safeText(code)}${count > 1 ? ` (${count} times)` : ''}` : '';
  return join(palette.bold(safeText(action)), 'by', who, refused, safeText(message), bodyText(details));
}

function bodyText(body: Parameters<typeof valueToJson>[0] | null | undefined): string {
  if (!body) return '';
  // JSON has its line breaks escaped; the rest is made safe as all text is.
  const text = safeText(jsonText(valueToJson(body), true));
  return text.length <= SHOWN_ARGUMENTS_CHARACTERS_MAX ? text : `${text.slice(0, SHOWN_ARGUMENTS_CHARACTERS_MAX)}…`;
}

function join(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(' ');
}
