const express = require("express");
const app = express();

app.get("/sum/:a/:b", (request, response) => {
  response.json({ sum: Number(request.params.a) + Number(request.params.b), mode: process.env.NODE_ENV });
});

app.listen(Number(process.env.PORT), "127.0.0.1");
