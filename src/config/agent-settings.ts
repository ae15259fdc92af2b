/** The settings of an agent itself, by key: what it records, what it may take, what it says of its node. */
import { NODE_LABELS_MAX } from '../limits/containers.js';
import * as limits from '../limits.js';
import { PROFILES, type Profile } from '../subscriptions/pushdown/catalogue.js';
import { isNodeLabel } from '../subscriptions/request/node-labels.js';
import { isRuntime } from './addresses.js';
import { anyText, choice, itemsOf, list, refuse, setting, size, span, whole } from './setting.js';

/** In the order of PROFILES, each once, `lite` among them. */
function profiles(text: string): readonly Profile[] {
  const items = itemsOf(text);
  if (!items.every((item) => PROFILES.some((known) => known === item))) refuse(`must hold ${PROFILES.join(', ')}`);
  return PROFILES.filter((known) => known === 'lite' || items.includes(known));
}

const runtimes = list(
  isRuntime,
  [1, 16],
  'auto, off, or sockets and kubelets, like unix:///run/containerd/containerd.sock, https://10.0.0.7:10250',
);

/** Where Kubernetes puts what each pod may use. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

export const AGENT_SETTINGS = {
  'agent.profiles': {
    parse: profiles,
    fallback: 'lite',
    summary: `what subscriptions may have this node record: of ${PROFILES.join(', ')}; lite always is`,
    text: (value: readonly Profile[]) => value.join(','),
    choices: PROFILES,
    list: true,
  },
  'agent.arguments': choice(
    ['best', 'visit'],
    'best',
    "how arguments of programs are had: best (the kernel's own copy where it holds, else as visit) or visit (from /proc, by a thread that waits for each exec)",
  ),
  'agent.containers': {
    ...runtimes,
    parse: (text: string) => {
      const items = runtimes.parse(text);
      const word = items.find((item) => item === 'auto' || item === 'off');
      return word === undefined || items.length === 1 ? items : refuse(`must hold ${word} alone, or sockets`);
    },
    fallback: 'auto',
    summary:
      'container runtimes that are asked for the names of containers and pods: those at the usual places (auto), none (off), or their sockets, or kubelets (https://HOST:10250) where no socket may be read (comma-separated)',
  },
  'agent.kubelet.token': setting(
    anyText,
    `${SERVICE_ACCOUNT}/token`,
    'file with the token for a kubelet in agent.containers: it must be allowed to get nodes/proxy',
  ),
  'agent.kubelet.ca': setting(
    anyText,
    `${SERVICE_ACCOUNT}/ca.crt`,
    "file with the CA of that kubelet's certificate, or the certificate itself where the kubelet signed it",
  ),
  'agent.labels': {
    ...list(isNodeLabel, [0, NODE_LABELS_MAX], 'labels, like zone=b'),
    fallback: '',
    summary: 'labels by which subscribers select this node: --node zone=b (key=value, comma-separated)',
  },
  'agent.kubernetesLabels': choice(
    ['off', 'on'],
    'off',
    'whether labels that Kubernetes has of this node are added, by its API and the token of the pod that the agent runs in',
  ),
  'agent.live.linger': span(
    [1, 1_000],
    limits.LINGER_MS_DEFAULT,
    'how long live events may gather on this node before they are sent; shorter costs more CPU',
  ),
  'agent.live.lingerMin': span(
    [1, 1_000],
    limits.LINGER_MS_LEAST_DEFAULT,
    'how short that may become for subscribers that ask for less latency',
  ),
  'agent.guard.cpu': setting(
    whole(0, 6_400),
    String(limits.GUARD_CPU_PERCENT_DEFAULT),
    'percent of one core that the agent may use for recording, over 10 s; above, live events come later, which is told; 0: no bound',
  ),
  'agent.guard.cpuLive': setting(
    whole(1, 6_400),
    String(limits.GUARD_CPU_LIVE_PERCENT_DEFAULT),
    'percent of one core that it may use beside that while somebody listens',
  ),
  'agent.guard.cpuHistory': setting(
    whole(1, 100),
    String(limits.GUARD_CPU_HISTORY_PERCENT_DEFAULT),
    'percent of one core that it may use beside that while it answers history queries; they are slowed to it',
  ),
  'agent.guard.memory': size(
    [0, 1024 * limits.GiB],
    limits.GUARD_MEMORY_BYTES_DEFAULT,
    'resident memory of the agent, likewise; 0: no bound',
  ),
} as const;
