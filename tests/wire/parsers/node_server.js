// Answers each request with what node's http module read: see tests/wire/parsers_test.cc.
const http = require('http');

const server = http.createServer({ maxHeaderSize: 1 << 17 }, (request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    let text = `${request.method} ${request.url}\n`;
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      text += `${request.rawHeaders[i].toLowerCase()}: ${request.rawHeaders[i + 1]}\n`;
    }
    response.end(Buffer.concat([Buffer.from(`${text}\n`, 'latin1'), ...chunks]));
  });
});
server.maxHeadersCount = 0;
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
