/**
 * What keeps `platform/` there when no Organization is left: to Argo CD a missing path is an error and no
 * reason to prune, so the last Organization's AppProject would stay for ever (ADR 12).
 */
const FILE = 'platform/README.md';

const TEXT = `# Written by the GSV operator

What only the platform may create: namespaces, Applications, AppProjects and tenants' roles, in
\`<first two hex digits of sha256(organization)>/<organization>/\`. Sixteen root Applications share this
folder by the first digit. Edit the custom resources, not these files.
`;

/** The change that makes `platform/` exist on an empty branch; afterwards it changes nothing. */
export function platformRootChange(): {
  owns: readonly string[];
  files: ReadonlyMap<string, string>;
  subject: string;
  trailers: Readonly<Record<string, string>>;
} {
  return { owns: [FILE], files: new Map([[FILE, TEXT]]), subject: 'Keep platform/', trailers: {} };
}
