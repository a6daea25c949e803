/**
 * Preloaded into a quickstart under test (`node --import`): its calendar stands a week after the recorded
 * orders (or at `GSV_TEST_TODAY`) whatever day it is, because what they paid for ends with the period counted from their own date.
 * Time passes as ever, and PostgreSQL is always told the time by the ledger.
 */
const START = Date.parse(process.env.GSV_TEST_TODAY ?? '2026-12-01T00:00:00Z');

const Calendar = Date;
const offset = START - Calendar.now();
const now = (): number => Calendar.now() + offset;

// What somebody noted by the calendar is compared with it.
Object.defineProperty(performance, 'timeOrigin', { value: performance.timeOrigin + offset });

globalThis.Date = new Proxy(Calendar, {
  get: (target, key) => (key === 'now' ? now : Reflect.get(target, key)),
  construct: (target, args) => (args.length === 0 ? new Calendar(now()) : Reflect.construct(target, args)),
});
