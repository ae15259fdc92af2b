/**
 * The labels that Kubernetes has of this node, from its API by the token that it projects into the agent's pod, whose
 * service account must be allowed to get nodes. Asked once, when the agent starts: labels of nodes hardly change.
 */
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import * as z from 'zod';
import { answeredText } from '../answered-text.js';
import { asBackplaneError } from '../errors.js';
import { within } from '../flow/within.js';
import { KUBERNETES_ANSWER_BYTES_MAX, KUBERNETES_ANSWER_MS_MAX, NODE_LABELS_MAX } from '../limits/containers.js';
import { isNodeLabel } from '../subscriptions/request/node-labels.js';

export interface KubernetesApi {
  readonly host: string;
  readonly port: number;
  readonly tokenFile: string;
  readonly caFile: string;
}

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const node = z.object({ metadata: z.object({ labels: z.record(z.string(), z.string()).optional() }) });

/** As every pod has it; undefined outside of one. */
export function apiOfPod({
  KUBERNETES_SERVICE_HOST: host,
  KUBERNETES_SERVICE_PORT: port,
}: NodeJS.ProcessEnv): KubernetesApi | undefined {
  if (!host || !port) return undefined;
  return { host, port: Number(port), tokenFile: `${ACCOUNT}/token`, caFile: `${ACCOUNT}/ca.crt` };
}

/** `key=value`, sorted; none where the API does not answer, which is said. Never rejects. */
export async function kubernetesLabels(
  api: KubernetesApi | undefined,
  nodeName: string,
  warn: (message: string) => void,
): Promise<readonly string[]> {
  try {
    if (api === undefined) throw new Error('this is no pod: KUBERNETES_SERVICE_HOST is not set');
    const unending = new AbortController().signal;
    const text = await within(KUBERNETES_ANSWER_MS_MAX, unending, (signal) => read(api, nodeName, signal));
    const labels = Object.entries(node.parse(JSON.parse(text)).metadata.labels ?? {});
    const texts = labels.map(([key, value]) => `${key}=${value}`).filter(isNodeLabel);
    return texts.sort().slice(0, NODE_LABELS_MAX);
  } catch (cause) {
    warn(`this node has no labels of Kubernetes: ${asBackplaneError(cause).message}`);
    return [];
  }
}

function read(
  { host, port, tokenFile, caFile }: KubernetesApi,
  nodeName: string,
  signal: AbortSignal,
): Promise<string> {
  const headers = { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`, accept: 'application/json' };
  const path = `/api/v1/nodes/${encodeURIComponent(nodeName)}`;
  const asked = request({ host, port, path, headers, ca: readFileSync(caFile), agent: false, signal });
  return answeredText(asked, KUBERNETES_ANSWER_BYTES_MAX);
}
