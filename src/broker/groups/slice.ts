/**
 * Slices: a group's nodes, dealt out by their names, so that all topics of a node go to one member. The number of slices
 * is a multiple of the number of partitions, so that a slice's frames lie in one partition of the log.
 */
import { crc32 } from 'node:zlib';
import { PARTITIONS } from '../../limits.js';

export function sliceOf(node: string, count: number): number {
  return crc32(node) % count;
}

export function partitionOfSlice(slice: number): number {
  return slice % PARTITIONS;
}
