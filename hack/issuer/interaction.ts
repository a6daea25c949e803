import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Provider } from 'oidc-provider';
import type { IssuerAccount } from './issuer.ts';

export const INTERACTION_PATH = '/interaction/';

/**
 * The sign-in page of the embedded issuer: one button per known account and no password, because it
 * serves one developer on the loopback address. Consent is implied (see `loadExistingGrant`).
 *
 * @returns whether the request was one for this page
 */
export async function serveInteraction(
  provider: Provider,
  accounts: readonly IssuerAccount[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  if (!request.url?.startsWith(INTERACTION_PATH)) return false;
  const url = new URL(request.url, 'http://issuer');
  try {
    const interaction = await provider.interactionDetails(request, response);
    const account = url.searchParams.get('account');
    if (account === null) {
      showAccounts(response, interaction.uid, accounts);
      return true;
    }
    const known = accounts.find((each) => each.sub === account);
    const result = known
      ? { login: { accountId: known.sub } }
      : { error: 'access_denied', error_description: 'there is no such account' };
    await provider.interactionFinished(request, response, result);
  } catch {
    response.writeHead(400, { 'content-type': 'text/plain; charset=utf-8' });
    response.end('This sign-in has ended or belongs to another browser. Start again from the store.');
  }
  return true;
}

function showAccounts(response: ServerResponse, uid: string, accounts: readonly IssuerAccount[]): void {
  const items = accounts
    .map(({ sub, name, email }) => {
      const href = `${INTERACTION_PATH}${uid}?account=${encodeURIComponent(sub)}`;
      return `<li><a href="${escapeHtml(href)}">${escapeHtml(name)}</a> (${escapeHtml(email)})</li>`;
    })
    .join('');
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  response.end(
    `<!doctype html><html lang="en"><title>Sign in</title><h1>Sign in as</h1><ul>${items}</ul>` +
      '<p>Development issuer of the quickstart: it asks for no password.</p></html>',
  );
}

const HTML_ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => HTML_ESCAPES[character] ?? character);
}
