const http = require('http');
const fs = require('fs');
const path = require('path');
fs.mkdirSync(path.join(__dirname, 'uploads'), { recursive: true });
http.createServer((request, response) => response.end('hello\n')).listen(3000);
