/**
 * What is asked of a stream's leader. Whatever keeps NATS from an answer (no leader, a lost connection, time that is over)
 * is `unavailable`, in a sentence: who asked for it, and a client behind that, tries again. Nobody else asks, so that no
 * error of the NATS client gets further.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { JetStreamManager, MsgRequest, StoredMsg, StreamInfo } from '@nats-io/jetstream';
import { BackplaneError } from '../../errors.js';
import { LEADER_ASK_MS, LEADER_HEARD_MS, NATS_REQUEST_MS } from '../../limits.js';
import { NATS_NS_PER_MS } from './stream-form.js';

const STREAM_NOT_FOUND = 10059;

/**
 * As its leader has it; undefined where there is no such stream. Rejects with unavailable where NATS does not say, or where
 * the stream has no leader: any of its servers answers then, with what it has itself, which may be less than was acknowledged.
 */
export async function streamInfo(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  const info = await anyStreamInfo(manager, name);
  if (info?.cluster === undefined || info.cluster.leader) return info;
  throw new BackplaneError('unavailable', `stream ${name} cannot be looked at: it has no leader`);
}

/** As its leader has it or, where it has none, as one of its servers does. */
export function anyStreamInfo(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  return answered(`stream ${name} cannot be looked at`, async () => {
    try {
      return await manager.streams.info(name);
    } catch (cause) {
      if ((cause as { code?: unknown }).code === STREAM_NOT_FOUND) return undefined;
      throw cause;
    }
  });
}

/**
 * For what a stream is said not to have (any more). A leader that was cut off from the other servers answers for some seconds
 * yet, and the next one, which they elect meanwhile, may have what it lacks. Throws unavailable where it has not just heard of
 * most of them.
 */
export function checkHeard({ config, cluster }: StreamInfo): void {
  const replicas = cluster?.replicas ?? [];
  // 0 is said of one that it has not heard of, too, and hardly ever of one that it has.
  const isHeard = (active: number) => active > 0 && active <= LEADER_HEARD_MS * NATS_NS_PER_MS;
  const heard = replicas.filter(({ offline, active }) => !offline && isHeard(active));
  if (2 * (heard.length + 1) > replicas.length + 1) return;
  throw new BackplaneError('unavailable', `the leader of ${config.name} hears nothing of the other servers`);
}

/**
 * A stream that must be there. Rejects with failed_precondition where `cluster init` did not make it, unavailable where
 * NATS does not say.
 */
export async function madeStream(manager: JetStreamManager, name: string): Promise<StreamInfo> {
  const info = await streamInfo(manager, name);
  if (info !== undefined) return info;
  const how = 'backplane cluster init makes the streams of a cluster';
  throw new BackplaneError('failed_precondition', `stream ${name} is not there: ${how}`);
}

/** As the leader has it: others may not have it yet. Null where there is none. Rejects with unavailable. */
export function storedMessage(manager: JetStreamManager, stream: string, query: MsgRequest): Promise<StoredMsg | null> {
  return answered(`${stream} cannot be read`, () => manager.streams.getMessage(stream, query));
}

/** Resolves when the stream has a leader that answers, or when the signal fires. */
export async function leaderThere(manager: JetStreamManager, stream: string, signal: AbortSignal): Promise<void> {
  const found = new AbortController();
  const ending = AbortSignal.any([signal, found.signal]);
  while (!ending.aborted) {
    // What is asked while there is no leader is never answered: the next question does not wait for the end of this one.
    streamInfo(manager, stream).then(
      () => found.abort(),
      () => undefined,
    );
    await sleep(LEADER_ASK_MS, undefined, { signal: ending, ref: false }).catch(() => undefined);
  }
}

/**
 * Resolves when the servers have a leader of all again, who makes consumers, after they were without one. Where there is
 * one all the time nothing is known, and it does not resolve before the signal fires.
 */
export async function leaderOfAllBack(manager: JetStreamManager, signal: AbortSignal): Promise<void> {
  for (let wasAway = false; !signal.aborted; ) {
    // Only that leader answers.
    const isThere = await manager.getAccountInfo().then(
      () => true,
      () => false,
    );
    if (isThere && wasAway) return;
    wasAway ||= !isThere;
    const waitMs = wasAway ? LEADER_ASK_MS : NATS_REQUEST_MS;
    await sleep(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

/** @param what is not known then, as the beginning of a sentence */
async function answered<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    throw new BackplaneError('unavailable', `${what}: ${(cause as Error).message}`);
  }
}
