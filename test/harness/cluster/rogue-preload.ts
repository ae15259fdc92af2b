/**
 * Loaded into an agent before its own code (`--import`): it admits everything,
 * whatever its budget and its leases say, and never waits for acknowledgements.
 */
import { LiveBudget } from '../../../src/sensor-agent/publish/budget.js';
import { UplinkSession } from '../../../src/sensor-agent/uplink/uplink-session.js';

Object.defineProperty(LiveBudget.prototype, 'admits', { value: () => true });
Object.defineProperty(LiveBudget.prototype, 'ample', { get: () => true });
Object.defineProperty(UplinkSession.prototype, 'writable', { get: () => true });
