import type { EdgePlugin } from '../edge.ts';
import type { IntakeOptions } from './intake.ts';
import { commerceRoutes } from './webhook.ts';

/** The shop's side of the edge: served by the api role, which is the one that may write the inbox. */
export function commercePlugin(options: Omit<IntakeOptions, 'inbox'>): EdgePlugin {
  return {
    name: 'commerce',
    roles: ['api'],
    register: (app, { ledger }) => commerceRoutes(app, { ...options, inbox: ledger }),
  };
}
