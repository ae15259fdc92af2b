/** The client library's messages: generated types and the functions that make them of JSON. Runs in browsers. */
export {
  acceptedOf,
  coverageOf,
  eventOf,
  explainResponseOf,
  gapOf,
  getStatusResponseOf,
  groupEventOf,
  listNodesResponseOf,
  listSubscriptionsResponseOf,
  listTopicsResponseOf,
  nodeStatusOf,
  publishResponseOf,
  watermarkOf,
} from '../gen/typed/from-json.js';
export type * from '../gen/typed/types.js';
