<?php
$words = new PDO('sqlite:/var/www/words.db');
$question = $words->prepare('SELECT meaning FROM words WHERE word = ?');
$question->execute([$_GET['word'] ?? '']);
echo $question->fetchColumn() ?: 'unknown', "\n";
