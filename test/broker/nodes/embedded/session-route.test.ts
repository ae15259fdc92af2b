/** All nodes are connected to one broker: the contract. */
import { nodeRouteContract } from '../../../contract/node-route.js';
import { startNodeServer } from '../../../harness/broker/node-server.js';
import { TestAgent } from '../../../harness/broker/test-agent.js';

nodeRouteContract('embedded', async () => {
  const server = await startNodeServer();
  const agents: TestAgent[] = [];
  return {
    route: server.route,
    async connect(node, recorder) {
      const agent = await TestAgent.connect(server.address, node, recorder);
      agents.push(agent);
      return agent;
    },
    async destroy() {
      for (const agent of agents) agent.kill();
      await server.close();
    },
  };
});
