/** What Kubernetes makes of manifests, for tests: a pod's first container as a plain process, its volumes as folders. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { Command } from '../harness/bus/bus.js';

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
}

interface Volume {
  readonly name: string;
  readonly secret?: { readonly secretName: string };
  readonly configMap?: { readonly name: string };
  readonly projected?: { readonly sources: readonly { readonly serviceAccountToken?: TokenSource }[] };
}

interface TokenSource {
  /** Undefined: the API of Kubernetes. */
  readonly audience?: string;
  readonly path: string;
}

interface PodSpec {
  readonly serviceAccountName?: string;
  readonly containers: readonly [
    {
      readonly command?: readonly string[];
      readonly args?: readonly string[];
      readonly env?: readonly Variable[];
      readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
      readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } };
    },
  ];
  readonly volumes: readonly Volume[];
  readonly terminationGracePeriodSeconds?: number;
  readonly topologySpreadConstraints?: readonly {
    readonly topologyKey: string;
    readonly whenUnsatisfiable: string;
    readonly labelSelector: { readonly matchLabels: Labels };
  }[];
}

type Labels = Readonly<Record<string, string>>;

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  /** Of secrets in base64. */
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: {
    readonly template: { readonly metadata: { readonly labels: Labels }; readonly spec: PodSpec };
    readonly volumeClaimTemplates?: readonly [
      { readonly spec: { readonly resources: { readonly requests: { readonly storage: string } } } },
    ];
    /** Of a service. */
    readonly trafficDistribution?: string;
  };
}

/** Of the text of one or several. */
export function manifestsIn(text: string): readonly Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

/** @param fields the node's and the pod's own, such as `spec.nodeName`. */
export interface Given {
  readonly dir: string;
  readonly fields?: Readonly<Record<string, string>>;
  readonly token?: (source: TokenSource, account: string) => Promise<string>;
  /** Set in place of what the manifest says. */
  readonly env?: Readonly<Record<string, string>>;
  /** What flags say instead, by their names. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Puts addresses of this machine in place of names of the cluster. */
  readonly replaced?: (text: string) => string;
}

/** The first container of a workload. */
export class Pod {
  readonly env: Readonly<Record<string, string>>;
  readonly #args: readonly string[];

  private constructor(args: readonly string[], env: Readonly<Record<string, string>>) {
    this.#args = args;
    this.env = env;
  }

  static async of(all: readonly Manifest[], kind: string, name: string, given: Given): Promise<Pod> {
    const manifest = find(all, kind, name);
    const { template } = manifest.spec;
    const [{ command = [], args = [], env = [], volumeMounts }] = template.spec.containers;
    const places = new Map<string, string>();
    for (const { name: volume, mountPath } of volumeMounts) {
      const folder = join(given.dir, volume);
      mkdirSync(folder, { recursive: true });
      places.set(mountPath, folder);
      await fill(folder, all, manifest, volume, given);
    }
    const placed = (text: string) =>
      [...places].reduce((so, [from, to]) => so.replace(`${from}/`, `${to}/`), given.replaced?.(text) ?? text);
    const variables = env.map(({ name: variable, value, valueFrom }) => {
      const text = value ?? given.fields?.[valueFrom!.fieldRef.fieldPath];
      if (text === undefined) throw new Error(`${variable} has no value`);
      return [variable, placed(text)] as const;
    });
    const flagged = args.map((arg) => {
      const [flag = ''] = arg.split('=');
      return given.flags?.[flag] === undefined ? placed(arg) : `${flag}=${given.flags[flag]}`;
    });
    const words = [...command.slice(command.indexOf('backplane') + 1), ...flagged];
    // As the image has it.
    const image = { BACKPLANE_DATA_DIR: places.get('/data') ?? '' };
    return new Pod(words, { ...image, ...Object.fromEntries(variables), ...given.env });
  }

  start(): Command {
    return new Command(this.#args, this.env);
  }

  /** As `kubectl exec` does. */
  exec(...args: readonly string[]): Command {
    return new Command(args, this.env);
  }
}

export function find(all: readonly Manifest[], kind: string, name: string): Manifest {
  const found = all.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
}

async function fill(folder: string, all: readonly Manifest[], of: Manifest, name: string, given: Given): Promise<void> {
  const { serviceAccountName: account, volumes } = of.spec.template.spec;
  const { secret, configMap, projected } = volumes.find((volume) => volume.name === name) ?? {};
  if (secret !== undefined) {
    const { data = {} } = find(all, 'Secret', secret.secretName);
    for (const [file, text] of Object.entries(data)) writeFileSync(join(folder, file), Buffer.from(text, 'base64'));
  }
  if (configMap !== undefined) {
    const { data = {} } = find(all, 'ConfigMap', configMap.name);
    for (const [file, text] of Object.entries(data)) writeFileSync(join(folder, file), text);
  }
  for (const { serviceAccountToken: source } of projected?.sources ?? []) {
    if (source === undefined) continue;
    const text = await given.token?.(source, `${of.metadata.namespace}:${account}`);
    writeFileSync(join(folder, source.path), text ?? '');
  }
}
