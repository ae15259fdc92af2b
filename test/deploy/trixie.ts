/** Programs of Debian 13 that hold deployments to their rules, unpacked into a cache; older releases lack them. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { packagedProgram } from '../harness/debian-release.js';

/** What tests of deployments download stays here. */
export const PACKAGE_CACHE = process.env.BACKPLANE_PACKAGE_CACHE ?? join(homedir(), '.cache/backplane-packages');

/** By name: where its package has it. */
const PROGRAMS = {
  kustomize: 'usr/bin/kustomize',
  'docker-compose': 'usr/libexec/docker/cli-plugins/docker-compose',
} as const;

export interface Found {
  readonly path: string;
  /** Why a test cannot use it, in one sentence, or false. */
  readonly missing: string | false;
}

export function programOfTrixie(name: keyof typeof PROGRAMS): Found {
  try {
    return { path: packagedProgram(PACKAGE_CACHE, 'trixie', name, PROGRAMS[name]), missing: false };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return { path: '', missing: `needs ${name} of Debian 13, which cannot be had: ${why}` };
  }
}
