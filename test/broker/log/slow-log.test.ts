/** The embedded log keeps its contract even if every promise resolves later. */
import '../../harness/cluster/slow-preload.js';
import { partitionLogContract } from '../../contract/partition-log.js';
import { embedded } from '../../harness/broker/embedded-log.js';

partitionLogContract('embedded, slow', async () => embedded('commit'));
