/** nats-server from Debian's packages, in the two versions that tests run: see docs/cluster.md. */
import { execFileSync } from 'node:child_process';
import { homedir } from 'node:os';
import path from 'node:path';
import { packagedProgram } from '../debian-release.js';

const CACHE = process.env.BACKPLANE_NATS_CACHE ?? path.join(homedir(), '.cache/backplane-nats');
/** `floor`: the oldest that a broker accepts. */
const RELEASES = { newest: 'sid', floor: 'trixie' } as const;

export type NatsVersion = keyof typeof RELEASES;

export interface NatsPackage {
  readonly program: string;
  /** As the server tells it, such as 2.10.27. */
  readonly version: string;
}

const known = new Map<NatsVersion, NatsPackage | string>();

/**
 * Downloads it where it is not in the cache yet. BACKPLANE_NATS_SERVER, a program, goes before the newest package.
 * @returns why it cannot be had, in one sentence, where it cannot
 */
function natsPackage(which: NatsVersion): NatsPackage | string {
  let found = known.get(which);
  if (found === undefined) {
    found = look(which);
    known.set(which, found);
    if (typeof found !== 'string') console.log(`nats-server ${found.version} (${which}): ${found.program}`);
  }
  return found;
}

/** For a test's `skip`: why there is no server, or false. */
export function needsNats(which: NatsVersion = 'newest'): string | false {
  const found = natsPackage(which);
  return typeof found === 'string' && found;
}

/** Throws where there is none. */
export function natsProgram(which: NatsVersion = 'newest'): NatsPackage {
  const found = natsPackage(which);
  if (typeof found === 'string') throw new Error(found);
  return found;
}

function look(which: NatsVersion): NatsPackage | string {
  try {
    const program =
      (which === 'newest' && process.env.BACKPLANE_NATS_SERVER) ||
      packagedProgram(CACHE, RELEASES[which], 'nats-server', 'usr/sbin/nats-server');
    const said = execFileSync(program, ['--version'], { encoding: 'utf8' });
    return { program, version: /v(\d+\.\d+\.\d+)/.exec(said)?.[1] ?? said.trim() };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    return `needs nats-server of Debian ${RELEASES[which]}, which cannot be had: ${why}`;
  }
}
