/** Colours: off unless a terminal wants them, one per node, one per kind of event. */

export type Paint = (text: string) => string;

export interface Palette {
  readonly dim: Paint;
  readonly bold: Paint;
  readonly warning: Paint;
  readonly error: Paint;
  /** The same node always gets the same colour. */
  node(name: string): Paint;
  /** By event type. */
  type(type: string): Paint;
}

const plain: Paint = (text) => text;
const sgr =
  (code: string): Paint =>
  (text) =>
    text === '' ? '' : `\x1b[${code}m${text}\x1b[0m`;

/** 256-colour indices that are legible on dark and on light. */
const NODE_COLOURS = [33, 37, 70, 99, 133, 136, 166, 172, 30, 62, 97, 130].map((index) => sgr(`38;5;${index}`));
const TYPE_COLOURS: Readonly<Record<string, Paint>> = {
  'process.exec': sgr('1;32'),
  'process.fork': sgr('36'),
  'process.exit': sgr('2'),
  'process.rename': sgr('35'),
  'process.signal': sgr('33'),
  'network.tcp.connect': sgr('1;34'),
  'network.tcp.accept': sgr('34'),
  'network.tcp.listen': sgr('1;34'),
  'network.tcp.close': sgr('2;34'),
  'network.udp.connect': sgr('1;34'),
  'network.udp.send': sgr('34'),
  'network.dns.query': sgr('1;34'),
  'host.loss': sgr('1;31'),
  'host.degraded': sgr('1;31'),
};

export const PLAIN: Palette = {
  dim: plain,
  bold: plain,
  warning: plain,
  error: plain,
  node: () => plain,
  type: () => plain,
};

export const COLOURED: Palette = {
  dim: sgr('2'),
  bold: sgr('1'),
  warning: sgr('33'),
  error: sgr('1;31'),
  node: (name) => {
    // FNV-1a gives similar names, like node-1 and node-2, different colours.
    let hash = 0x811c9dc5;
    for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
    return NODE_COLOURS[(hash >>> 0) % NODE_COLOURS.length] ?? plain;
  },
  type: (type) => (Object.hasOwn(TYPE_COLOURS, type) ? (TYPE_COLOURS[type] ?? plain) : plain),
};

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Whether a stream takes escape sequences: a terminal that is not dumb, where NO_COLOR (https://no-color.org) is not
 * set.
 */
export function takesEscapes(stream: { readonly isTTY?: boolean }, environment: Environment): boolean {
  const { NO_COLOR = '', TERM = '' } = environment;
  return stream.isTTY === true && NO_COLOR === '' && TERM !== '' && TERM !== 'dumb';
}

export function choosePalette(
  stream: { readonly isTTY?: boolean },
  environment: Environment,
  wanted: boolean,
): Palette {
  return wanted && takesEscapes(stream, environment) ? COLOURED : PLAIN;
}
