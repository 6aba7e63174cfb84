// A provider of logins on the loopback: the certified implementation `oidc-provider`, as it comes, with two people
// and one client. Prints the port it got; ends when its standard input does.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const groups = { alice: ['staff', 'hpc-admins'], bob: ['guests'], carol: ['staff'] };

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{
      client_id: 'muster',
      client_secret: process.env.CLIENT_SECRET,
      redirect_uris: ['https://demo.example:8443/api/v1/oidc/callback'],
    }],
    pkce: { required: () => true },
    scopes: ['openid', 'profile'],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
    cookies: { keys: ['only for this test'] },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
    }),
  });
  server.on('request', provider.callback());
  console.log(port);
});
process.stdin.on('end', () => process.exit(0)).resume();
