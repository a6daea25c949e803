/** Every adapter of the delivery port, and the double that the tests of the operator use, keep the same promises. */
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { type ResourceStore, StoreError } from '../../crds/store.ts';
import { ArgoCdDouble } from '../../hack/argocd/double.ts';
import { Committer } from '../../hack/testing/delivery-committer.ts';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import { FakeDelivery, FakeGit } from '../../hack/testing/operator/fakes.ts';
import { ManualClock } from '../../hack/testing/operator/manual-clock.ts';
import { defaultPlatform, rootApplicationName } from '../render/render.ts';
import { ArgoDelivery } from './argocd/delivery.ts';
import { type DeliveryBench, deliveryContract } from './contract.suite.ts';
import { LocalDelivery } from './local.ts';

const PLATFORM = { project: 'default', platform: defaultPlatform('https://git.example.com/r.git', 'main') };
/** A second at a time, for longer than the retries of Argo CD last. */
const STEP_MS = 1_000;
const STEPS = 600;

/** Nobody else has to do anything first. */
const atOnce: DeliveryBench['until'] = async (what, _target, holds) => {
  if (!(await holds())) throw new Error(`it is not so: ${what}`);
};

deliveryContract('LocalDelivery', async () => {
  const remote = await GitRemote.create();
  const committer = new Committer(await remote.writer('operator'), PLATFORM);
  await committer.project();
  const delivery = new LocalDelivery({ repository: remote.path, branch: 'main' });
  return {
    delivery,
    commit: (name, tone) => committer.instance(name, tone),
    // Somewhere else than in the Project's own namespace.
    commitFaulty: (name) =>
      committer.instance(name, 'calm', { edit: (text) => text.replace(/namespace: .*/, 'namespace: kube-system') }),
    mend: () => undefined,
    remove: (name) => committer.remove(name),
    until: atOnce,
    close: async () => {
      await delivery.close();
      await remote[Symbol.asyncDispose]();
    },
  };
});

deliveryContract('FakeDelivery', async () => {
  const git = new FakeGit();
  const committer = new Committer(git, PLATFORM);
  const delivery = new FakeDelivery(git);
  return {
    delivery,
    commit: (name, tone) => committer.instance(name, tone),
    commitFaulty: async (name) => {
      delivery.obstacle = { reason: 'ManifestInvalid', message: `The manifests of ${name} are broken.` };
      return committer.instance(name, 'calm');
    },
    mend: () => {
      delivery.obstacle = undefined;
    },
    remove: (name) => committer.remove(name),
    until: atOnce,
    hints: () => 0,
    away: (is) => {
      delivery.failure = is ? new Error('it does not answer') : undefined;
    },
    hideSecrets: (_name, is) => {
      delivery.unready = is ? { reason: 'SecretSyncedError', message: 'A secret cannot be read.' } : undefined;
    },
    close: async () => undefined,
  };
});

deliveryContract('ArgoDelivery with the double of Argo CD', openArgo, { lags: true });

async function openArgo(): Promise<DeliveryBench> {
  const git = new FakeGit();
  const clock = new ManualClock();
  const committer = new Committer(git, PLATFORM);
  await committer.project();
  const argo = new ArgoCdDouble(git, clock, [rootApplicationName('acme')]);
  const embedded = await EmbeddedStore.open({ now: () => new Date(clock.now()) });
  let away = false;
  const store = unlessAway(argo.over(embedded), () => away);
  const delivery = new ArgoDelivery({ store, history: git, namespace: 'argocd', now: () => clock.now() });
  return {
    delivery,
    commit: (name, tone) => committer.instance(name, tone),
    commitFaulty: (name) => {
      argo.refused.set(`ConfigMap/i-${name}`, 'it is forbidden');
      return committer.instance(name, 'calm');
    },
    mend: () => argo.refused.clear(),
    remove: (name) => committer.remove(name),
    until: async (what, target, holds) => {
      for (let step = 0; step < STEPS; step++) {
        if (await holds()) return;
        await delivery.refresh(target);
        await clock.advance(STEP_MS);
      }
      throw new Error(`it never came to be: ${what}: ${JSON.stringify(await delivery.state(target))}`);
    },
    hints: () => argo.hints,
    away: (is) => {
      away = is;
    },
    loseObject: (name) => argo.removed.add(`ConfigMap/i-${name}`),
    again: (name, force) => committer.instance(name, 'calm', { force }),
    hideSecrets: (name, is) => {
      if (is) argo.unreadable.add(`i-${name}`);
      else argo.unreadable.delete(`i-${name}`);
    },
    close: () => embedded.close(),
  };
}

/** A store whose reads are refused while the API server is away; caches keep what they know. */
function unlessAway(store: ResourceStore, away: () => boolean): ResourceStore {
  return new Proxy(store, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== 'function') return member;
      if (property === 'watch' || property === 'close') return member.bind(target);
      return async (...args: unknown[]) => {
        if (away()) throw new StoreError('Unavailable', 'the API server does not answer');
        return member.apply(target, args) as unknown;
      };
    },
  });
}
