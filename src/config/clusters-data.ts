/** The clusters of the setting `clusters` once they are read, and how they are written: see clusters.ts. */
export interface ClusterSettings {
  readonly brokers: readonly string[];
  /** Files, as of tls.ca, tls.cert and tls.key; '' for none. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** The token itself; '' for none. */
  readonly token: string;
  readonly tokenFile: string;
}

export type ClustersSetting = ReadonlyMap<string, ClusterSettings>;

export function clustersText(clusters: ClustersSetting): string {
  return JSON.stringify(clustersData(clusters));
}

/** As the YAML file has them. */
export function clustersData(clusters: ClustersSetting): Readonly<Record<string, object>> {
  return Object.fromEntries(Array.from(clusters, ([name, cluster]) => [name, given(cluster)]));
}

function given(cluster: ClusterSettings): object {
  return Object.fromEntries(Object.entries(cluster).filter(([, value]) => value !== ''));
}
