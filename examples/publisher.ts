/**
 * Publishes an event of an application, and reads it back beside the kernel's. However often it is started with the same
 * id, the event is stored once.
 *
 *   BACKPLANE_TOKEN=$(cat data/token) node publisher.js VERSION [ID]
 */
import { connect } from 'backplane/client';

const { BACKPLANE_BROKERS = '127.0.0.1:8484', BACKPLANE_TOKEN } = process.env;
const [, , version = '1.4.2', id = `deploy-${version}`] = process.argv;

await using bus = await connect({ brokers: BACKPLANE_BROKERS.split(','), token: BACKPLANE_TOKEN });
const { duplicates } = await bus.publish('app.deploy', { version }, { id, time: new Date() });
console.log(duplicates === 0 ? 'published' : 'was published before');

const filter = `app.body.version == ${JSON.stringify(version)}`;
for await (const item of bus.subscribe({ topics: ['app.deploy'], filter, since: '10m' })) {
  if (item.kind === 'event' && 'app' in item.event) console.log(item.node, item.event.app?.id, item.event.app?.body);
}
