// As call.py, by the `fetch` of undici. Its proxy agent asks for a tunnel whatever the scheme.
const { readFileSync } = require('fs');
const { fetch, ProxyAgent, setGlobalDispatcher } = require('undici');

// Debian's node takes no authority from its environment.
const tls = { ca: readFileSync(process.env.AUTHORITY) };
setGlobalDispatcher(
  new ProxyAgent({ uri: process.env.HTTP_PROXY, requestTls: tls, proxyTls: tls }),
);

async function call(method, url) {
  const body = method === 'POST' ? 'x'.repeat(100000) : undefined;
  try {
    const response = await fetch(url, { method, body });
    console.log(`${response.status} ${await response.text()}`);
  } catch (error) {
    console.log(`refused: ${error.cause || error}`);
  }
}

(async () => {
  const words = process.argv.slice(2);
  for (let at = 0; at + 1 < words.length; at += 2) await call(words[at], words[at + 1]);
  process.exit();
})();
