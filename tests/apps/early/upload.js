// node upload.js ADDRESS URL FILE TIMES FRAMING - uploads the file so many times and prints what was answered, a line each.
// ADDRESS is host:port or the path of a UNIX socket; FRAMING is length or chunked.
const fs = require("fs");
const http = require("http");

const [address, url, path, times, framing] = process.argv.slice(2);
const place = address.startsWith("/") ? { socketPath: address } : {};
const headers = framing === "length" ? { "Content-Length": fs.statSync(path).size } : {};

function upload() {
  return new Promise((resolve) => {
    const request = http.request(url, { method: "POST", headers, agent: false, ...place });
    request.on("error", (error) => resolve(String(error)));
    request.on("response", (answer) => {
      let content = "";
      answer.on("data", (piece) => (content += piece));
      answer.on("error", (error) => resolve(String(error)));
      answer.on("end", () => resolve(`${answer.statusCode} ${content.trim()}`));
    });
    fs.createReadStream(path).pipe(request);
  });
}

(async () => {
  for (let count = 0; count < Number(times); count++) console.log(await upload());
})();
