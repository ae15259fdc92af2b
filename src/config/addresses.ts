/** Addresses that settings take: of nats-servers, pages, keys and container runtimes. */

/** Names and passwords belong into files. */
export const isNatsUrl = (text: string): boolean =>
  /^(nats|tls):\/\/([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:\d{1,5})?$/.test(text);

/** Of a nats-server's monitoring: it wants no credentials. */
export const isMonitorUrl = (text: string): boolean => /^https?:\/\/[^/?#@*]+$/.test(text) && URL.canParse(text);

/** As browsers write it: no path, no slash at its end, and no port that the scheme has anyway. */
export function isOrigin(text: string): boolean {
  return /^https?:[^*]+$/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}

/** Keys that somebody on the way could replace would let in anybody. */
export function isKeysPlace(text: string): boolean {
  if (!/^[a-z]+:\/\//i.test(text)) return true;
  return /^https:\/\/./.test(text) || /^http:\/\/(127\.\d+\.\d+\.\d+|localhost|\[::1\])[:/]/.test(text);
}

/** A socket, or a kubelet's address: that wants no password, and no path. */
export const isRuntime = (text: string): boolean =>
  /^(auto|off|(unix:(\/\/)?)?\/[^\s,]{1,90}|https?:\/\/[^/?#@*\s,]{1,253})$/.test(text) &&
  (!text.startsWith('http') || URL.canParse(text));
