/** Nodes of several clusters are `cluster/node`: what items say of nodes, with the cluster before it. Runs in browsers. */

interface OfNode {
  readonly node: string;
}

export function clusterNode(cluster: string, node: string): string {
  return `${cluster}/${node}`;
}

/** What is said of no node stays so. */
export function inCluster<Value extends OfNode>(cluster: string, value: Value): Value {
  return value.node === '' ? value : { ...value, node: clusterNode(cluster, value.node) };
}

export function acceptedIn<
  Value extends {
    readonly nodes: readonly string[];
    readonly nodesMissing: readonly string[];
    readonly beginsLater: readonly OfNode[];
  },
>(cluster: string, accepted: Value): Value {
  return {
    ...accepted,
    nodes: accepted.nodes.map((node) => clusterNode(cluster, node)),
    nodesMissing: accepted.nodesMissing.map((node) => clusterNode(cluster, node)),
    beginsLater: accepted.beginsLater.map((begin) => inCluster(cluster, begin)),
  };
}

export function coverageIn<Value extends { readonly nodes: readonly OfNode[] }>(
  cluster: string,
  coverage: Value,
  cursor: string,
): Value {
  return { ...coverage, nodes: coverage.nodes.map((node) => inCluster(cluster, node)), cursor };
}

/** One of no node says in its message of which cluster it is. */
export function gapIn<Value extends OfNode & { readonly message: string }>(cluster: string, gap: Value): Value {
  if (gap.node !== '') return inCluster(cluster, gap);
  return { ...gap, message: gap.message === '' ? `cluster ${cluster}` : `${gap.message} (cluster ${cluster})` };
}
