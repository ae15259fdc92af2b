/**
 * Tells a socket's first datagram to a peer, by each process that sends it, and counts the later ones: while there are
 * more, they are told once a minute with their number. The peers that were told last are remembered.
 */
import { DATAGRAM_PEERS_MAX, DATAGRAM_TOLD_NS } from '../../../limits.js';

/** Socket, its peer's key, when it was told (trace clock), and how many datagrams were counted since. */
export type DatagramPeerState = readonly [bigint, string, bigint, number];

interface Peer {
  readonly socket: bigint;
  readonly key: string;
  toldNs: bigint;
  untold: number;
}

export class DatagramTable {
  /** The one that was told longest ago first. */
  readonly #peers = new Map<string, Peer>();
  /** The same by the socket's address in the kernel. */
  readonly #bySocket = new Map<bigint, Set<Peer>>();

  /**
   * A datagram was sent. `key` says who sent it, from where, and to whom. Returns how many are told with it; undefined
   * where it is only counted.
   */
  sent(socket: bigint, key: string, timeNs: bigint): number | undefined {
    const known = this.#peers.get(nameOf(socket, key));
    if (known === undefined) {
      this.#add({ socket, key, toldNs: timeNs, untold: 0 });
      return 1;
    }
    known.untold += 1;
    if (timeNs - known.toldNs < DATAGRAM_TOLD_NS) return undefined;
    const datagrams = known.untold;
    this.#drop(known);
    this.#add({ socket, key, toldNs: timeNs, untold: 0 });
    return datagrams;
  }

  /** The socket is no more: its address may become another's. */
  ended(socket: bigint): void {
    for (const peer of [...(this.#bySocket.get(socket) ?? [])]) this.#drop(peer);
  }

  clear(): void {
    this.#peers.clear();
    this.#bySocket.clear();
  }

  save(): DatagramPeerState[] {
    return Array.from(this.#peers.values(), ({ socket, key, toldNs, untold }) => [socket, key, toldNs, untold]);
  }

  load(peers: readonly DatagramPeerState[]): void {
    this.clear();
    for (const [socket, key, toldNs, untold] of peers) this.#add({ socket, key, toldNs, untold });
  }

  #add(peer: Peer): void {
    if (this.#peers.size >= DATAGRAM_PEERS_MAX) this.#drop(this.#peers.values().next().value!);
    this.#peers.set(nameOf(peer.socket, peer.key), peer);
    const same = this.#bySocket.get(peer.socket);
    if (same) same.add(peer);
    else this.#bySocket.set(peer.socket, new Set([peer]));
  }

  #drop(peer: Peer): void {
    this.#peers.delete(nameOf(peer.socket, peer.key));
    const same = this.#bySocket.get(peer.socket);
    same?.delete(peer);
    if (same?.size === 0) this.#bySocket.delete(peer.socket);
  }
}

function nameOf(socket: bigint, key: string): string {
  return `${socket} ${key}`;
}
