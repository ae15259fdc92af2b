/**
 * The keys that Grafana documents for its provisioning and for dashboards, as far as they may be of use here. Grafana passes
 * over what it does not know, so these forms are closed. Further keys: docs/sources of Grafana's repository, "Provision
 * Grafana" and "Dashboard JSON model".
 */
import * as z from 'zod';

const version = z.literal(1);
const datasourceRef = z.strictObject({ type: z.string(), uid: z.string() });

export const datasourcesForm = z.strictObject({
  apiVersion: version,
  prune: z.boolean().optional(),
  deleteDatasources: z.array(z.strictObject({ name: z.string(), orgId: z.int().optional() })).optional(),
  datasources: z.array(
    z.strictObject({
      name: z.string(),
      type: z.literal('prometheus'),
      access: z.literal('proxy'),
      orgId: z.int().optional(),
      uid: z.string().optional(),
      url: z.url(),
      isDefault: z.boolean().optional(),
      version: z.int().optional(),
      editable: z.boolean().optional(),
      jsonData: z.strictObject({
        tlsAuth: z.boolean().optional(),
        tlsAuthWithCACert: z.boolean().optional(),
        serverName: z.string().optional(),
        timeout: z.int().optional(),
        httpMethod: z.enum(['GET', 'POST']).optional(),
        timeInterval: z.string().optional(),
        queryTimeout: z.string().optional(),
      }),
      secureJsonData: z.strictObject({
        tlsCACert: z.string().optional(),
        tlsClientCert: z.string().optional(),
        tlsClientKey: z.string().optional(),
      }),
    }),
  ),
});

export const providersForm = z.strictObject({
  apiVersion: version,
  providers: z.array(
    z.strictObject({
      name: z.string(),
      orgId: z.int().optional(),
      folder: z.string().optional(),
      folderUid: z.string().optional(),
      type: z.literal('file'),
      disableDeletion: z.boolean().optional(),
      updateIntervalSeconds: z.int().optional(),
      allowUiUpdates: z.boolean().optional(),
      options: z.strictObject({ path: z.string(), foldersFromFilesStructure: z.boolean().optional() }),
    }),
  ),
});

const variable = z.strictObject({
  name: z.string(),
  type: z.enum(['datasource', 'query']),
  label: z.string(),
  query: z.string(),
  datasource: datasourceRef.optional(),
  refresh: z.int().optional(),
  includeAll: z.boolean().optional(),
  multi: z.boolean().optional(),
  allValue: z.string().optional(),
  current: z.strictObject({ text: z.string(), value: z.string() }).optional(),
});

const panel = z.strictObject({
  id: z.int(),
  title: z.string(),
  description: z.string(),
  type: z.literal('timeseries'),
  datasource: datasourceRef,
  gridPos: z.strictObject({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
  fieldConfig: z.strictObject({
    defaults: z.strictObject({ unit: z.string().optional(), min: z.number().optional(), max: z.number().optional() }),
    overrides: z.array(z.never()),
  }),
  targets: z.array(
    z.strictObject({ refId: z.string(), expr: z.string(), legendFormat: z.string(), datasource: datasourceRef }),
  ),
});

export const dashboardForm = z.strictObject({
  title: z.string(),
  uid: z.string(),
  schemaVersion: z.int(),
  version: z.int(),
  editable: z.boolean(),
  refresh: z.string(),
  time: z.strictObject({ from: z.string(), to: z.string() }),
  timezone: z.string(),
  tags: z.array(z.string()),
  templating: z.strictObject({ list: z.array(variable) }),
  panels: z.array(panel),
});
